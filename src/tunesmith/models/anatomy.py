# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Where the parts of a language model are, with or without adapters around it: backbone, head, layers."""

from typing import Any

from torch import nn
from transformers import PreTrainedModel


def base_model(model: nn.Module) -> PreTrainedModel:
    """Take PEFT's wrapper off; adapters inside the modules stay active."""
    unwrap: Any = getattr(model, "get_base_model", None)
    inner = model if unwrap is None else unwrap()
    assert isinstance(inner, PreTrainedModel), f"{type(inner).__name__} is no transformers model"
    return inner


def backbone(model: nn.Module) -> nn.Module:
    """Give the part that turns token ids into final hidden states, without the head."""
    base = base_model(model)
    # Llama 4 calls its backbone `model` and says that it is called `language_model`.
    inner = base.base_model if base.base_model is not base else getattr(base, "model", base)
    assert isinstance(inner, nn.Module) and inner is not base, f"{type(base).__name__} has no separate backbone"
    return inner


def head(model: nn.Module) -> nn.Module:
    """Give the output head: a linear layer, or an adapter's module around it."""
    found = base_model(model).get_output_embeddings()
    assert isinstance(found, nn.Module), "the model has no language head"
    return found


def num_layers(model: nn.Module) -> int:
    """Count the decoder layers as the model's configuration does."""
    config: Any = base_model(model).config.get_text_config()
    return int(config.num_hidden_layers)


def hidden_size(model: nn.Module) -> int:
    """Give the width of the hidden states."""
    config: Any = base_model(model).config.get_text_config()
    return int(config.hidden_size)


def decoder_layers(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """Give the name and the list of the decoder layers."""
    count = num_layers(model)
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return name, module
    raise AssertionError(f"no list of {count} layers in {type(model).__name__}")
