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
    "gguf", "loftq", "ademamix", "fp8", "plugins",
)  # fmt: skip


def needless_quantisers(keys: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the quantisers, where neither a key nor the model's folder speaks of one (nor a plugin, which may)."""
    # Values with a separator are paths, and a folder may be called anything.
    told = {name: value for name, value in keys.items() if value and not {"/", "\\"} & set(str(value))}
    text = json.dumps(told, default=str).lower()
    if any(word in text for word in _WORDS) or _may_be_quantised(str(keys.get("model_name_or_path") or "")):
        return ()
    return _QUANTISERS


def _may_be_quantised(model: str) -> bool:
    """Look at a folder's configuration; a hub id cannot be looked at, names without a slash are embedded models."""
    file = Path(model).expanduser() / "config.json"
    if file.is_file():
        return "quantization_config" in file.read_text(encoding="utf-8", errors="replace")
    return "/" in model
