# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rules about lengths: rows, the limit, the model's positions, and the number of rows that a step needs."""

from collections.abc import Iterator

import numpy as np

from tunesmith.checks.context import CheckContext
from tunesmith.checks.places import counted, rows_by_file
from tunesmith.checks.rule import Finding, rule
from tunesmith.checks.split_rules import is_split_too_large
from tunesmith.checks.thresholds import thresholds
from tunesmith.config.sections.data import DataSection
from tunesmith.models.rope import readable_positions


@rule("check.length_beyond_positions", "refuse", needs=("training", "model"))
def limit_is_within_positions(context: CheckContext) -> Iterator[Finding]:
    """Find a length limit that the user raised beyond what the model can read; the default says nothing."""
    positions, limit = num_positions(context), context.config.data.cutoff_len
    if positions is not None and _is_chosen_beyond(context):
        yield Finding(
            message=f"cutoff_len {limit} is beyond the {positions} positions of this model.",
            remedy=f"Lower cutoff_len to at most {positions}.",
            where=context.at("cutoff_len"),
        )


@rule("check.row_beyond_positions", "refuse", needs=("training", "model", "data"))
def rows_are_within_positions(context: CheckContext) -> Iterator[Finding]:
    """Find rows that the limit lets pass and the model cannot read."""
    positions = num_positions(context)
    if positions is None or _is_chosen_beyond(context):
        return
    for name, store in context.stores():
        too_long = np.flatnonzero(store.lengths > positions)
        for where in rows_by_file(store, too_long):
            yield Finding(
                message=f"Longer than the {positions} positions of this model: {counted(where, 'row')} of {name}; the "
                f"longest has {int(store.lengths.max())} tokens.",
                remedy=f"Write cutoff_len: {positions}.",
                where=where,
            )


@rule("check.length_limit_excessive", "warn", needs=("training", "model", "data"))
def limit_is_near_the_rows(context: CheckContext) -> Iterator[Finding]:
    """Find a raised length limit that no row comes near; packed rows fill it, so there it has its use."""
    config, limits = context.config, thresholds()
    longest = max((int(store.lengths.max()) for _, store in context.stores() if len(store)), default=0)
    limit = config.data.cutoff_len
    if not config.is_set("cutoff_len") or context.is_packing or not longest or _is_chosen_beyond(context):
        return
    if limit > limits["length_limit_floor"] and limit > limits["length_limit_ratio"] * longest:
        yield Finding(
            message=f"cutoff_len is {limit}, but the longest row has {longest} tokens.",
            remedy=f"Write cutoff_len: {_round_up(longest)}; the limit protects memory only when it is near the rows.",
            where=context.at("cutoff_len"),
        )


@rule("check.rows_too_few", "refuse", needs=("training", "schedule"))
def rows_fill_a_step(context: CheckContext) -> Iterator[Finding]:
    """Find fewer rows than one optimizer step needs, by a batch size that the user chose.

    A short last step is sound, and so is a small set under the default batch size: then one step takes all rows.
    """
    training, schedule = context.config.training, context.schedule
    assert schedule is not None, "rules that need a schedule are not asked without one"
    if is_split_too_large(context):  # that is the reason, and is told
        return
    is_chosen = any(map(context.config.is_set, ("per_device_train_batch_size", "gradient_accumulation_steps")))
    is_short = is_chosen and schedule.num_rows < schedule.step_units
    if schedule.units and not is_short:
        return
    if not schedule.num_rows:
        yield _no_rows(context)
        return
    size = 1 if training.tokens_per_batch else training.batch_rows
    product = f"{size} × {training.gradient_accumulation_steps} = {schedule.step_units}"
    leaves_none = training.dataloader_drop_last and not schedule.units
    consequence = ", and dataloader_drop_last leaves none of them" if leaves_none else ""
    yield Finding(
        message=f"One optimizer step takes {product} rows, but there are {schedule.num_rows} to train on{consequence}.",
        remedy="Lower gradient_accumulation_steps or per_device_train_batch_size, or add rows.",
        where=context.at("gradient_accumulation_steps", "per_device_train_batch_size"),
    )


def _no_rows(context: CheckContext) -> Finding:
    """Tell of a run without training rows; broken rows that may not be dropped were refused before."""
    num_dropped = context.data.ledger.count("dropped", split="train")
    return Finding(
        message=f"There are no rows to train on: all {num_dropped} rows were left out or dropped.",
        remedy="Correct the rows, or change what leaves them out: split and num_samples in dataset_info.json, "
        "max_samples, max_row_loss.",
        where=context.at("dataset"),
    )


def _is_chosen_beyond(context: CheckContext) -> bool:
    """Say whether the user chose a limit beyond the positions; 2048 is in every example file and chooses nothing."""
    positions, limit = num_positions(context), context.config.data.cutoff_len
    is_chosen = context.config.is_set("cutoff_len") and limit != DataSection.model_fields["cutoff_len"].default
    return is_chosen and positions is not None and limit > positions


def num_positions(context: CheckContext) -> int | None:
    """Count the positions that the model can read, its rope scaling included; None where it has no limit."""
    return readable_positions(context.model_config)


def _round_up(length: int) -> int:
    """Round up to the next multiple of 128."""
    return -(-length // 128) * 128
