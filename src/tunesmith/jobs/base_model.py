# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Loads the model of a run without its adapters: with a language head, or with the scalar head of a reward model."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from tunesmith.checks.context import PROBE, Parts
from tunesmith.checks.skeleton import trains_reward_model
from tunesmith.config.run import RunConfig
from tunesmith.core.errors import warning
from tunesmith.core.progress import say
from tunesmith.core.report import emit_warning
from tunesmith.models.attention.backends import AttentionChoice, Surroundings, choose_backend
from tunesmith.models.fresh import fresh_model
from tunesmith.models.head import check_head
from tunesmith.models.load import load_model
from tunesmith.models.quantized_loading import chosen_quantization
from tunesmith.models.quantizers.base import Quantization
from tunesmith.models.reward_head import has_head, load_reward_model, refuse_headless, set_padding
from tunesmith.templates.base import ChatTemplate
from tunesmith.templates.tokenizer import padding_id


@dataclass(frozen=True, kw_only=True)
class Base:
    """A model without its adapters, and how its weights are quantised."""

    model: PreTrainedModel
    quantization: Quantization | None = None


def load_base(config: RunConfig, parts: Parts, *, dtype: torch.dtype, device: torch.device) -> Base:
    """Load the model with the head that the stage's loss reads: quantised, or with random weights, if that is asked."""
    assert parts.folder is not None
    attention = choose_attention(config, dtype=dtype, device=device)
    say(f"Attention: {attention.reason}.")
    name = attention.implementation
    if config.aids.train_from_scratch and config.run.do_train:
        model = fresh_model(parts.folder, seed=config.run.seed, dtype=dtype, attention=name, device=device)
        check_head(model)
        return Base(model=model)
    quantization = chosen_quantization(config, parts.folder, dtype)
    if trains_reward_model(config):
        tell_head(config, parts.folder)
        model = load_reward_model(
            parts.folder,
            dtype=dtype,
            attention=name,
            device=device,
            seed=config.run.seed,
            quantization=quantization,
        )
        if parts.tokenizer is not None:  # absent where only memory is tried
            choose_padding(model, parts)
    else:
        model = load_model(parts.folder, dtype=dtype, attention=name, device=device, quantization=quantization)
        check_head(model)
    return Base(model=model, quantization=quantization)


def tell_head(config: RunConfig, folder: Path) -> None:
    """Say that a reward model gets a fresh head, or refuse to evaluate one that has none."""
    adapters = [Path(adapter) for adapter in config.model.adapter_name_or_path]
    if not config.run.do_train:
        refuse_headless(folder, adapters)
    elif not any(has_head(place) for place in (folder, *adapters)):
        say("The model gets a fresh reward head.")


def choose_attention(config: RunConfig, *, dtype: torch.dtype, device: torch.device) -> AttentionChoice:
    """Choose the attention of a run by the key, the device and what is installed."""
    is_short = dtype != torch.float32 or config.training.bf16 or config.training.fp16
    return choose_backend(config.model.flash_attn, Surroundings.of(device, is_short_format=is_short))


def choose_padding(model: nn.Module, parts: Parts) -> None:
    """Let transformers read rewards where we do: it takes a row's last token that does not pad."""
    assert parts.tokenizer is not None and parts.template is not None, "pairs are rendered by a template"
    own = padding_id(parts.tokenizer)
    chosen = set_padding(model, own, last_token(parts.template), len(parts.tokenizer))
    if chosen != own:
        emit_warning(
            warning(
                "model.padding_ends_answers",
                f"The tokenizer pads with token {own}, which also ends conversations, so transformers would read "
                f"rewards one token early; the reward model's config.json names token {chosen} for padding.",
                f"Pad with token {chosen} where transformers runs this reward model on several rows at once.",
            )
        )


def last_token(template: ChatTemplate) -> int:
    """Give the token that a rendered conversation ends with."""
    return int(template.render(PROBE).input_ids[-1])
