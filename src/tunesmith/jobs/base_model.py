# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Loads the model of a run without its adapters: with a language head, or with the scalar head of a reward model."""

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
from tunesmith.models.head import check_head
from tunesmith.models.load import load_model
from tunesmith.models.reward_head import has_head, load_reward_model, refuse_headless, set_padding
from tunesmith.templates.base import ChatTemplate
from tunesmith.templates.tokenizer import padding_id


def load_base(config: RunConfig, parts: Parts, *, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """Load the model with the head that the stage's loss reads."""
    assert parts.folder is not None
    attention = choose_attention(config, dtype=dtype, device=device).implementation
    if not trains_reward_model(config):
        base = load_model(parts.folder, dtype=dtype, attention=attention, device=device)
        check_head(base)
        return base
    adapters = [Path(adapter) for adapter in config.model.adapter_name_or_path]
    if not config.run.do_train:
        refuse_headless(parts.folder, adapters)
    elif not any(has_head(place) for place in (parts.folder, *adapters)):
        say("The model gets a fresh reward head.")
    seed = config.run.seed
    model = load_reward_model(parts.folder, dtype=dtype, attention=attention, device=device, seed=seed)
    choose_padding(model, parts)
    return model


def choose_attention(config: RunConfig, *, dtype: torch.dtype, device: torch.device) -> AttentionChoice:
    """Choose the attention of a run by the key, the device and what is installed, and say which."""
    is_short = dtype != torch.float32 or config.training.bf16 or config.training.fp16
    choice = choose_backend(config.model.flash_attn, Surroundings.of(device, is_short_format=is_short))
    say(f"Attention: {choice.reason}.")
    return choice


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
