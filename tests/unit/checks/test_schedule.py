# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The schedule that rules reason with is the one that the batch plan and transformers follow."""

import math
from typing import Any

import pytest
from transformers import TrainingArguments

from tests.unit.checks.stores import context_of
from tunesmith.checks.schedule import Schedule
from tunesmith.data.plan import PlanRules, plan_epoch


def schedule_of(num_rows: int, **keys: Any) -> Schedule:
    schedule = context_of(["1 [2 3]"] * num_rows, **keys).schedule
    assert schedule is not None
    return schedule


@pytest.mark.parametrize("num_rows", [1, 7, 8, 9, 24, 25])
@pytest.mark.parametrize(("batch", "accumulation"), [(1, 1), (4, 2), (3, 3)])
@pytest.mark.parametrize(
    "options",
    [{}, {"dataloader_drop_last": True}, {"packing": True, "cutoff_len": 7}, {"tokens_per_batch": 11, "cutoff_len": 7}],
)
def test_steps_are_those_of_the_plan(num_rows: int, batch: int, accumulation: int, options: dict[str, Any]) -> None:
    keys = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation, **options}
    if "tokens_per_batch" in options:
        del keys["per_device_train_batch_size"]
    context = context_of(["1 [2 3]"] * num_rows, **keys)
    assert context.train is not None and context.schedule is not None
    rules = PlanRules(
        seed=0,
        batch_rows=batch,
        gradient_accumulation_steps=accumulation,
        pack_tokens=7 if "packing" in options else None,
        tokens_per_batch=options.get("tokens_per_batch"),
        drop_last="dataloader_drop_last" in options,
    )
    plan = plan_epoch(context.train.lengths, rules, epoch=0)
    assert context.schedule.steps_per_epoch == math.ceil(len(plan) / accumulation)


def test_epochs_make_steps_and_max_steps_replaces_them() -> None:
    assert schedule_of(24, per_device_train_batch_size=5, num_train_epochs=2.5).total_steps == 13
    assert schedule_of(24, per_device_train_batch_size=5, max_steps=7).total_steps == 7


def test_shares_become_steps_as_transformers_counts_them() -> None:
    schedule = schedule_of(
        24, per_device_train_batch_size=2, num_train_epochs=2, eval_strategy="steps", eval_steps=0.3,
        eval_dataset="e.jsonl", save_steps=0.5,
    )  # fmt: skip
    total = schedule.total_steps
    arguments = TrainingArguments(output_dir="out", use_cpu=True, eval_strategy="steps", eval_steps=0.3, save_steps=0.5)
    assert schedule.eval_every == math.ceil(total * (arguments.eval_steps or 0)) == 8
    assert schedule.save_every == math.ceil(total * arguments.save_steps) == 12


def test_evaluations_follow_the_log_unless_told_otherwise() -> None:
    keys = {"eval_strategy": "steps", "eval_dataset": "e.jsonl", "logging_steps": 10}
    assert schedule_of(24, **keys).eval_every == 10
    assert schedule_of(24, **keys, eval_steps=4).eval_every == 4
    assert schedule_of(24).eval_every is None


def test_a_run_that_only_evaluates_has_no_schedule() -> None:
    assert context_of(["1 [2]"], dataset=None, eval_dataset="e.jsonl", do_eval=True).schedule is None
