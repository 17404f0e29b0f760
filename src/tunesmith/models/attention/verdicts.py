# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Remembers the outcome of the packing trial in the user's cache, under everything that could change it.

The key holds the model's configuration, its number format, device type, wrapping and the versions of the libraries.
"""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from tunesmith import __version__
from tunesmith.core.files import write_text_atomic
from tunesmith.core.progress import say
from tunesmith.models.anatomy import backbone, base_model
from tunesmith.models.attention.forest import FOREST
from tunesmith.models.attention.packing import PackingReport, computed_dtype, self_test
from tunesmith.models.cache import user_cache

_LIBRARIES = ("torch", "transformers", "peft")


def remembered_self_test(model: nn.Module, *, cache: Path | None = None) -> PackingReport:
    """Give the outcome of an earlier equal trial, or try now and keep the outcome."""
    path = (cache or user_cache()) / "packing" / f"{_key(model)}.json"
    try:
        return PackingReport(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # not tried yet, or not ours to read
        report = self_test(model)
    if report.is_equal:  # a failure is tried again: its cause may be the machine's
        write_text_atomic(path, json.dumps(report.to_json()) + "\n")
    return report


def trusted_self_test(model: nn.Module, *, cache: Path | None = None) -> PackingReport:
    """Try the model's back end; where packed and separate rows differ under it, say so and try the plain one."""
    report, base = remembered_self_test(model, cache=cache), base_model(model)
    chosen = base.config._attn_implementation
    if report.is_equal or chosen == FOREST:
        return report
    say(f"Attention falls back from {chosen} to {FOREST}: {report.reason}.")
    base.set_attn_implementation(FOREST)
    return remembered_self_test(model, cache=cache)


def _key(model: nn.Module) -> str:
    base, weight = base_model(model), next(backbone(model).parameters())
    config: dict[str, Any] = base.config.to_dict()
    facts = {
        "config": {name: value for name, value in sorted(config.items()) if name != "_name_or_path"},
        "attention": base.config._attn_implementation,
        "numbers": [str(weight.dtype), str(computed_dtype(model)), weight.device.type],
        # The module of a class from a model's folder is named by the hash of its code.
        "modules": [type(model).__name__, type(base).__module__, type(base).__name__],
        "versions": [__version__, *(version(library) for library in _LIBRARIES)],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:24]
