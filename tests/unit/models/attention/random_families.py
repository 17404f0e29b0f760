# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Tiny random models of every causal type of transformers, each from the type's own configuration class.

Sizes stand in random_families.yaml: by the names that configurations use, and by type where that is not enough.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)

CAUSAL_TYPES: tuple[str, ...] = tuple(sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES))
_TABLE = Path(__file__).with_suffix(".yaml")


def random_model(model_type: str, *, attention: str | None, is_whole: bool = False) -> Any:
    """Build the type's tiny model for evaluation, with the same weights at every call; its layers are of every kind.

    With `is_whole` it is what folders of the type hold: models of text and images have towers beside the text part.
    """
    has_towers = is_whole and model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    kind: Any = AutoModelForImageTextToText if has_towers else AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any = kind.from_config(tiny_config(model_type), attn_implementation=attention)
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:  # norms, biases and sinks start as ones and zeros, which hides mistakes
                torch.nn.init.normal_(parameter, mean=float("norm" in name), std=0.1)
    return model.eval()


def tiny_config(model_type: str) -> PreTrainedConfig:
    """Shrink a type's default configuration."""
    kind = CONFIG_MAPPING[model_type]
    config = kind(**_settings(kind(), _table()["types"].get(model_type, {})))
    assert isinstance(config, PreTrainedConfig)
    return config


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = yaml.safe_load(_TABLE.read_text(encoding="utf-8"))
    return table


def _settings(default: PreTrainedConfig, own: Mapping[str, Any]) -> dict[str, Any]:
    """Give the small values of all names that a configuration knows, its parts' included."""
    known = {*dir(default), *default.attribute_map}
    settings = {name: value for name, value in _table()["sizes"].items() if name in known}
    for name, value in vars(default).items():
        if isinstance(value, float) and "drop" in name:
            settings[name] = 0.0
        elif isinstance(value, PreTrainedConfig):
            settings[name] = _settings(value, own.get(name, {}))
    kinds = vars(default).get("layer_types")
    if kinds and "layer_types" not in own:
        distinct = list(dict.fromkeys(kinds))
        count = own.get("num_hidden_layers", max(len(distinct), settings["num_hidden_layers"]))
        settings |= {"num_hidden_layers": count, "layer_types": (distinct * count)[:count]}
    parts = {name for name, value in vars(default).items() if isinstance(value, PreTrainedConfig)}
    settings |= {name: value for name, value in own.items() if name not in parts}
    return {name: value for name, value in settings.items() if value is not None}
