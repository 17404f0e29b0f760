# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rules about a run that continues a saved adapter: its shape comes from the adapter, not from the file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunesmith.checks.context import CheckContext
from tunesmith.checks.rule import Finding, rule
from tunesmith.models.tuners.base import tuners


@rule("check.adapter_keys_ignored", "warn", needs=("training", "skeleton"))
def adapter_keys_have_effect(context: CheckContext) -> Iterator[Finding]:
    """Find keys that differ from the adapter that is continued; keys that repeat its values are boilerplate."""
    config = context.config
    adapters = config.model.adapter_name_or_path
    if not adapters or not config.run.do_train or config.flat.get("create_new_adapter", False):
        return
    kind = tuners.get(config.run.finetuning_type)
    saved = kind(config.part(kind.Params)).saved_keys(Path(adapters[-1]))
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


def _differs(given: Any, saved: Any) -> bool:
    if isinstance(given, (list, tuple)):
        return saved is not None and list(given) != ["all"] and tuple(sorted(given)) != saved
    return bool(given != saved)


def _shown(value: Any) -> str:
    return ",".join(value) if isinstance(value, (list, tuple)) else str(value)
