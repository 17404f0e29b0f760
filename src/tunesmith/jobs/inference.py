# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Loads what answers prompts: model with its adapters, tokenizer, and the template it was trained with."""

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from tunesmith.config.run import RunConfig
from tunesmith.core.types import Sampling
from tunesmith.engines.torch import TorchEngine
from tunesmith.models.attention.backends import Surroundings, choose_backend
from tunesmith.models.load import default_device, inference_dtype, load_model, load_model_config, resolve_model
from tunesmith.models.new_rows_tuner import with_new_rows
from tunesmith.models.quantized_loading import chosen_quantization
from tunesmith.models.tuners.base import tuners
from tunesmith.models.variants import with_changes
from tunesmith.templates.base import ChatTemplate, TrainPolicy
from tunesmith.templates.run_template import load_served_template, serving_policy_of
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
    folder = with_changes(config, folder)
    adapters = [Path(adapter) for adapter in config.model.adapter_name_or_path]
    tokenizer = load_tokenizer(folder)
    template = load_served_template(config, tokenizer, [folder, *adapters])
    is_auto = config.model.infer_dtype == "auto"
    dtype = inference_dtype(config.model.infer_dtype, load_model_config(folder))
    quantization = chosen_quantization(config, folder, None if is_auto else dtype)
    if quantization is not None:
        dtype = getattr(torch, quantization.dtype)
    around = Surroundings.of(default_device(), is_short_format=dtype != torch.float32)
    attention = choose_backend(config.model.flash_attn, around).implementation
    base = load_model(folder, dtype=dtype, attention=attention, quantization=quantization)
    kind = tuners.get(config.run.finetuning_type)
    tuner = with_new_rows(kind(config.part(kind.Params), seed=config.run.seed), folder)
    model = tuner.prepare(base, adapters, is_trainable=False)
    return ServedModel(
        engine=TorchEngine(model, pad_id=padding_id(tokenizer)),
        tokenizer=tokenizer,
        template=template,
        policy=serving_policy_of(config),
    )


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
