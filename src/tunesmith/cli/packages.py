# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Which optional packages a job surely does not need, so that its start need not import them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Libraries import these to recognise their objects, which they never get from us; a job that needs one imports it.
RECOGNISED = ("datasets", "sklearn", "tensorflow", "flax", "jax")
_QUANTISERS = ("bitsandbytes", "torchao", "hqq", "gptqmodel", "optimum", "eetq", "aqlm", "awq")
_WORDS = (
    "quant", "bnb", "bitsandbytes", "4bit", "8bit", "32bit", "hqq", "torchao", "gptq", "eetq", "aqlm", "awq", "paged",
    "gguf", "loftq", "ademamix", "fp8", "qat", "plugins",
)  # fmt: skip
# Keys that name models or adapters; one that was trained on quantised weights has a record of them in its folder.
_PLACES = ("model_name_or_path", "adapter_name_or_path", "ref_model", "ref_model_adapters")
RECORD = "tunesmith_base.json"


def needless_quantisers(keys: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the quantisers, where neither a key nor the folder of a model or adapter speaks of one, nor a plugin may."""
    # Values with a separator are paths, and a folder may be called anything.
    told = {name: value for name, value in keys.items() if value and not {"/", "\\"} & set(str(value))}
    text = json.dumps(told, default=str).lower()
    if any(word in text for word in _WORDS) or any(map(_may_be_quantised, _places(keys))):
        return ()
    return _QUANTISERS


def _places(keys: Mapping[str, Any]) -> list[str]:
    """Give what the keys name, one or several each."""
    named = [keys.get(key) or () for key in _PLACES]
    return [str(part) for each in named for part in (each.split(",") if isinstance(each, str) else each)]


def _may_be_quantised(place: str) -> bool:
    """Look into a folder; a hub id cannot be looked at, and names without a slash are embedded models."""
    folder = Path(place.strip()).expanduser()
    if not folder.is_dir():
        return "/" in place
    file = folder / "config.json"
    if (folder / RECORD).is_file():
        return True
    return file.is_file() and "quantization_config" in file.read_text(encoding="utf-8", errors="replace")
