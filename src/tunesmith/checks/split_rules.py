# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rules about evaluation rows: how many are taken, whether they are used, and whether they were trained on."""

from collections.abc import Iterator

import numpy as np

from tunesmith.checks.context import CheckContext, num_used
from tunesmith.checks.rule import Finding, rule
from tunesmith.checks.thresholds import thresholds


@rule("check.split_too_large", "refuse", needs=("training", "data"))
def split_leaves_training_rows(context: CheckContext) -> Iterator[Finding]:
    """Find a val_size that takes more rows than it leaves."""
    val_size = context.config.data.val_size
    if is_split_too_large(context):
        held_out, left = _num_rows(context)
        yield Finding(
            message=f"val_size {val_size:g} takes {held_out} of {held_out + left} rows for evaluation and leaves "
            f"{left} for training.",
            remedy="Write the share for evaluation, for example val_size: 0.1, or the number of rows.",
            where=context.at("val_size"),
        )


def is_split_too_large(context: CheckContext) -> bool:
    """Say whether val_size takes more rows than it leaves."""
    held_out, left = _num_rows(context)
    return context.config.data.val_size > 0 and held_out > thresholds()["max_eval_share"] * (held_out + left)


def _num_rows(context: CheckContext) -> tuple[int, int]:
    """Count the rows for evaluation and those for training."""
    ledger = context.data.ledger
    return num_used(ledger, "eval"), num_used(ledger, "train")


@rule("check.evaluation_rows_unused", "warn", needs=("training", "data"))
def evaluation_rows_are_used(context: CheckContext) -> Iterator[Finding]:
    """Find evaluation rows that nothing evaluates: with val_size they are lost for training as well."""
    run, training, data = context.config.run, context.config.training, context.config.data
    if not run.do_train or run.do_eval or training.eval_strategy != "no" or training.eval_on_start:
        return
    if data.val_size > 0 or data.eval_dataset:
        count = sum(len(store) for store in context.data.evals.values())
        lost = " and are taken from training" if data.val_size > 0 else ""
        yield Finding(
            message=f"{count} evaluation rows are never evaluated{lost}: eval_strategy is no and do_eval is false.",
            remedy="Write eval_strategy: epoch (or steps), or do_eval: true, or remove the evaluation rows.",
            where=context.at("val_size", "eval_dataset"),
        )


@rule("check.evaluation_leaked", "warn", needs=("training", "data"))
def evaluation_rows_are_new(context: CheckContext) -> Iterator[Finding]:
    """Find evaluation rows that are also training rows, answer and all. val_size keeps equal rows on one side."""
    if not context.config.data.eval_dataset or context.judged is None:
        return
    trained = context.judged.trait("row")
    sets = [context.judge_rows(store) for store in context.data.evals.values()]
    evaluated = [rows for rows in sets if rows is not None]
    leaked = [np.flatnonzero(np.isin(rows.trait("row"), trained)) for rows in evaluated]
    count = sum(map(len, evaluated))
    if not sum(map(len, leaked)) or sum(map(len, leaked)) < thresholds()["min_leak_share"] * count:
        return
    for rows, found in zip(evaluated, leaked, strict=True):
        for where in rows.places(found.tolist()):
            yield Finding(
                message=f"Of {count} evaluation rows {where.num_rows} were also trained on: there the evaluation "
                "measures memory.",
                remedy="Evaluate on other rows, or take them out of the training data.",
                where=where,
            )
