# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rules over the configuration alone, beyond those between keys that `config/rules.py` holds."""

from collections.abc import Iterator

from tunesmith.checks.context import CheckContext
from tunesmith.checks.rule import Finding, rule
from tunesmith.checks.thresholds import thresholds


@rule("check.learning_rate_unusual", "warn", needs=("training",))
def learning_rate_is_usual(context: CheckContext) -> Iterator[Finding]:
    """Find a learning rate far from what the method is published with; only of optimizers of Adam's scale."""
    training, method = context.config.training, context.config.run.finetuning_type
    limits = thresholds()
    if not context.config.run.do_train or not context.config.is_set("learning_rate"):
        return
    if not _has_adam_scale(training.optim) or f"{method}_learning_rate_min" not in limits:
        return
    low, high = limits[f"{method}_learning_rate_min"], limits[f"{method}_learning_rate_max"]
    if low <= training.learning_rate <= high:
        return
    side = "above" if training.learning_rate > high else "below"
    effect = "the loss will likely diverge" if side == "above" else "the model will hardly change"
    yield Finding(
        message=f"learning_rate {training.learning_rate:g} is far {side} what finetuning_type {method} is used with "
        f"({low:g} to {high:g}); {effect}.",
        remedy="Nothing, if it is meant; otherwise 1e-4 suits lora and 1e-5 suits full and freeze.",
        where=context.at("learning_rate"),
    )


def _has_adam_scale(optimizer: str) -> bool:
    return "adam" in optimizer and not optimizer.startswith("schedule_free")
