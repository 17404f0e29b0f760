# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Loads a reward model to judge with: base or adapters, the tokenizer, and the template that it was trained with."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from tunesmith.config.run import RunConfig
from tunesmith.core.types import Batch
from tunesmith.models.attention.backends import Surroundings, choose_backend
from tunesmith.models.load import inference_dtype, load_model_config, resolve_model
from tunesmith.models.new_rows_tuner import with_new_rows
from tunesmith.models.quantized_loading import chosen_quantization
from tunesmith.models.reward_head import load_reward_model, refuse_headless
from tunesmith.models.tuners.base import tuners
from tunesmith.models.variants import with_changes
from tunesmith.templates.base import ChatTemplate
from tunesmith.templates.run_template import load_served_template
from tunesmith.templates.tokenizer import load_tokenizer, padding_id
from tunesmith.training.arguments import training_device
from tunesmith.training.batches import to_device


@dataclass(frozen=True, kw_only=True)
class RewardModel:
    """A model that gives answers a number, and what renders rows for it."""

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    template: ChatTemplate
    pad_id: int

    def to_device(self, batch: Batch, device: torch.device) -> Batch:
        """Move a batch to where the model is."""
        return to_device(batch, device)


def load_reward(config: RunConfig) -> RewardModel:
    """Load the reward model of a configuration, or refuse one without a reward head."""
    keys = config.model
    assert keys.model_name_or_path is not None, "configuration rules ask for a model"
    cache = Path(keys.cache_dir) if keys.cache_dir else None
    folder = with_changes(config, resolve_model(keys.model_name_or_path, cache, revision=keys.model_revision))
    adapters = [Path(adapter) for adapter in keys.adapter_name_or_path]
    refuse_headless(folder, adapters)
    tokenizer = load_tokenizer(folder)
    template = load_served_template(config, tokenizer, [folder, *adapters])
    dtype = inference_dtype(keys.infer_dtype, load_model_config(folder))
    quantization = chosen_quantization(config, folder, None if keys.infer_dtype == "auto" else dtype)
    if quantization is not None:
        dtype = getattr(torch, quantization.dtype)
    device = training_device(config.run)
    around = Surroundings.of(device, is_short_format=dtype != torch.float32)
    attention = choose_backend(keys.flash_attn, around).implementation
    base = load_reward_model(
        folder, dtype=dtype, attention=attention, device=device, seed=config.run.seed, quantization=quantization
    )
    kind = tuners.get(config.run.finetuning_type)
    tuner = with_new_rows(kind(config.part(kind.Params), seed=config.run.seed), folder)
    model = tuner.prepare(base, adapters, is_trainable=False)
    model.eval()
    return RewardModel(model=model, tokenizer=tokenizer, template=template, pad_id=padding_id(tokenizer))
