# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rules about a run that continues a saved adapter: its shape comes from the adapter, not from the file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from peft import LoraConfig

from tunesmith.checks.context import CheckContext
from tunesmith.checks.rule import Finding, rule
from tunesmith.models.adapter_files import read_adapter_config
from tunesmith.models.adapter_tuner import AdapterTuner
from tunesmith.models.tuners.base import tuners


@rule("check.adapter_keys_ignored", "warn", needs=("training", "skeleton"))
def adapter_keys_have_effect(context: CheckContext) -> Iterator[Finding]:
    """Find keys that differ from the adapter that is continued; keys that repeat its values are boilerplate."""
    config = context.config
    adapters = config.model.adapter_name_or_path
    if not adapters or not config.run.do_train or config.flat.get("create_new_adapter", False):
        return
    kind = tuners.get(config.run.finetuning_type)
    assert issubclass(kind, AdapterTuner), "configuration rules refuse adapters for other tuners"
    saved = _keys_of(read_adapter_config(Path(adapters[-1]), kind.config_type), kind)
    ignored = {key: config.flat[key] for key, value in saved.items() if _differs(config.flat[key], value)}
    ignored = {key: value for key, value in ignored.items() if config.is_set(key)}
    if ignored:
        shown = ", ".join(
            f"{key} {_shown(value)} (the adapter has {_shown(saved[key])})" for key, value in ignored.items()
        )
        yield Finding(
            message=f"The run continues the adapter {adapters[-1]}, so these keys have no effect: {shown}.",
            remedy="Remove them, or write create_new_adapter: true to merge the adapter and train a fresh one.",
            where=context.at(*ignored),
        )


def _keys_of(saved: Any, kind: type[AdapterTuner]) -> dict[str, Any]:
    """The adapter's values under our keys; targets are compared only where they are names."""
    targets = saved.target_modules
    names = tuple(sorted(targets)) if isinstance(targets, (list, set, tuple)) else None
    if not isinstance(saved, LoraConfig):
        values = {key: getattr(saved, name) for key, name in kind.saved_as.items()}
        return {key: names if name == "target_modules" else values[key] for key, name in kind.saved_as.items()}
    return {
        "lora_rank": saved.r,
        "lora_alpha": saved.lora_alpha,
        "lora_target": names,
        "additional_target": tuple(sorted(saved.modules_to_save)) if saved.modules_to_save else None,
        "use_rslora": saved.use_rslora,
        "use_dora": saved.use_dora,
        "rank_pattern": dict(saved.rank_pattern or {}) or None,
        "alpha_pattern": dict(saved.alpha_pattern or {}) or None,
        "init_lora_weights": "default",
        "pissa_init": False,
    }


def _differs(given: Any, saved: Any) -> bool:
    if isinstance(given, (list, tuple)):
        return saved is not None and list(given) != ["all"] and tuple(sorted(given)) != saved
    return bool(given != saved)


def _shown(value: Any) -> str:
    return ",".join(value) if isinstance(value, (list, tuple)) else str(value)
