# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""How many optimizer steps a run takes, and when it evaluates and saves, from its settings and the lengths of its rows.

It mirrors the trainer's arithmetic for a model that takes packed rows; a test compares the two.
"""

import math
import os
from dataclasses import dataclass

from tunesmith.config.run import RunConfig
from tunesmith.data.mismatched import rows_for
from tunesmith.data.plan import PlanRules, num_units
from tunesmith.data.store import TokenRows
from tunesmith.objectives.base import objectives


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """`num_rows` are those of the files; `units` the tokenised rows, or packed sequences, that an epoch trains on;
    `step_units` those of a full optimizer step.

    `eval_every` and `save_every` are in steps; None: never, or once an epoch.
    """

    num_rows: int
    units: int
    step_units: int
    steps_per_epoch: int
    total_steps: int
    eval_every: int | None
    save_every: int | None


def plan_schedule(config: RunConfig, train: TokenRows, *, num_rows: int) -> Schedule:
    """Work out the schedule of a run over its training rows; `num_rows` of them are in the files."""
    training = config.training
    rules = PlanRules(
        seed=0,
        batch_rows=training.batch_rows,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        world_size=int(os.environ.get("WORLD_SIZE", "1")),
        pack_tokens=config.data.cutoff_len if is_packing(config) else None,
        tokens_per_batch=training.token_budget(config.data.cutoff_len),
    )
    units = num_units(_as_trained(config, train).lengths, rules)
    if training.dataloader_drop_last:
        units = units // (rules.batch_units * rules.world_size) * rules.batch_units * rules.world_size
    steps_per_epoch = math.ceil(units / rules.step_units)
    total = training.max_steps if training.max_steps > 0 else math.ceil(training.num_train_epochs * steps_per_epoch)
    eval_steps = training.eval_steps if training.eval_steps is not None else training.logging_steps
    return Schedule(
        num_rows=num_rows,
        units=units,
        step_units=rules.step_units,
        steps_per_epoch=total if config.data.streaming else steps_per_epoch,
        total_steps=total,
        eval_every=_in_steps(eval_steps, total) if training.eval_strategy == "steps" else None,
        save_every=_in_steps(training.save_steps, total) if training.save_strategy == "steps" else None,
    )


def _as_trained(config: RunConfig, train: TokenRows) -> TokenRows:
    """Give the rows with what the loss adds to them; without a plan by tokens that changes nothing."""
    stage = config.run.stage
    by_tokens = config.training.tokens_per_batch is not None or is_packing(config)
    return rows_for(objectives.get(stage), train) if by_tokens and stage in objectives.names() else train


def is_packing(config: RunConfig) -> bool:
    """Say whether several rows share one sequence: as asked, else in stage pt."""
    data = config.data
    return data.packing if data.packing is not None else data.neat_packing or config.run.stage == "pt"


def _in_steps(every: float, total: int) -> int:
    """Turn a share of all steps into steps, as the trainer does."""
    return math.ceil(total * every) if every < 1 else int(every)
