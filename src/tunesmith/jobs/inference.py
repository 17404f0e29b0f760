# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Loads what answers prompts: model with its adapters, tokenizer, and the template it was trained with."""

from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from tunesmith.config.run import RunConfig
from tunesmith.core.errors import warning
from tunesmith.core.report import emit_warning
from tunesmith.core.types import Sampling
from tunesmith.engines.torch import TorchEngine
from tunesmith.models.load import ATTENTION, inference_dtype, load_model, load_model_config, resolve_model
from tunesmith.models.tuners.base import tuners
from tunesmith.templates.base import ChatTemplate, TrainPolicy
from tunesmith.templates.chat import load_template
from tunesmith.templates.jinja_template import TEMPLATE_FILE
from tunesmith.templates.tokenizer import load_tokenizer, padding_id


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model ready to answer; `policy` holds the default system prompt."""

    engine: TorchEngine
    tokenizer: PreTrainedTokenizerBase
    template: ChatTemplate
    policy: TrainPolicy


def load_served(config: RunConfig) -> ServedModel:
    """Load the model of a configuration to answer with: a base model, one with adapters, or a full checkpoint."""
    assert config.model.model_name_or_path is not None, "configuration rules ask for a model"
    cache = Path(config.model.cache_dir) if config.model.cache_dir else None
    folder = resolve_model(config.model.model_name_or_path, cache, revision=config.model.model_revision)
    adapters = [Path(adapter) for adapter in config.model.adapter_name_or_path]
    tokenizer = load_tokenizer(folder)
    template = load_served_template(config, tokenizer, [folder, *adapters])
    dtype = inference_dtype(config.model.infer_dtype, load_model_config(folder))
    base = load_model(folder, dtype=dtype, attention=ATTENTION[config.model.flash_attn])
    kind = tuners.get(config.run.finetuning_type)
    tuner = kind(config.part(kind.Params), seed=config.run.seed)
    model = tuner.prepare(base, adapters, is_trainable=False)
    return ServedModel(
        engine=TorchEngine(model, pad_id=padding_id(tokenizer)),
        tokenizer=tokenizer,
        template=template,
        policy=TrainPolicy(default_system=config.template.default_system),
    )


def load_served_template(config: RunConfig, tokenizer: PreTrainedTokenizerBase, folders: list[Path]) -> ChatTemplate:
    """Load the template a model is served with; the last folder that carries one was trained with it."""
    chosen = config.template
    is_thinking_set = config.is_set("enable_thinking") and chosen.enable_thinking is not None
    variables = {"enable_thinking": chosen.enable_thinking} if is_thinking_set else {}
    carrying = [folder for folder in folders if (folder / TEMPLATE_FILE).is_file()]
    frozen = carrying[-1] if carrying else None
    template = load_template(tokenizer, name=chosen.template, folder=frozen, variables=variables)
    if chosen.template is not None and frozen is not None:
        saved = load_template(tokenizer, folder=frozen, variables=variables)
        if saved.source.rstrip() != template.source.rstrip():
            emit_warning(
                warning(
                    "template.frozen_differs",
                    f"{frozen} carries the template {saved.name!r}, which it was trained with; `template` asks for "
                    f"{chosen.template!r}, which writes other text.",
                    "Leave `template` out to serve what was trained.",
                    key="template",
                    file=str(frozen / TEMPLATE_FILE),
                )
            )
    return template


def load_sampling(config: RunConfig, template: ChatTemplate, *, num_prompt: int = 0, seed: int = 0) -> Sampling:
    """Turn the generation keys into settings; without max_new_tokens, max_length counts the prompt too."""
    keys = config.generation
    room = keys.max_new_tokens if keys.max_new_tokens > 0 else max(1, keys.max_length - num_prompt)
    return Sampling(
        max_new_tokens=room,
        stop_ids=template.stop_ids(),
        do_sample=keys.do_sample,
        temperature=keys.temperature,
        top_p=keys.top_p,
        top_k=keys.top_k,
        repetition_penalty=keys.repetition_penalty,
        seed=config.run.seed + seed,
    )
