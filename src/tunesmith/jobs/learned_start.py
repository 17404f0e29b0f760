# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Lets a tuner begin from rows of the run, before the first step; a resumed run repeats what was chosen then."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from tunesmith.checks.context import Parts
from tunesmith.config.run import RunConfig
from tunesmith.core.progress import say
from tunesmith.core.types import Batch
from tunesmith.data.collate import collate
from tunesmith.data.mismatched import rows_for
from tunesmith.jobs.reference import PolicyAtStart
from tunesmith.objectives.base import objectives
from tunesmith.templates.tokenizer import padding_id
from tunesmith.training.arguments import training_device
from tunesmith.training.batches import to_device
from tunesmith.training.comparison import Comparison, ReferencePart
from tunesmith.training.precision import mixed_precision


def learn_start(
    config: RunConfig,
    parts: Parts,
    policy: PolicyAtStart,
    *,
    saved_choices: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Choose the first values of the trained weights by rows, or repeat a checkpoint's choices; gives the choices.

    The loss is the run's own; one that compares does so with the policy as it is. Every process reads the same rows.
    """
    tuner, model = policy.tuner, policy.model
    if not tuner.start_rows:
        return {}
    if saved_choices is not None:
        return dict(tuner.repeat_start(model, saved_choices))
    assert parts.data is not None and parts.data.train is not None, "a run that trains has rows; of a stream, its head"
    kind = objectives.get(config.run.stage)
    objective = kind(config.part(kind.Params))
    rows = rows_for(kind, parts.data.train)
    places = spread(len(rows), tuner.start_rows)
    device = training_device(config.run)
    comparison = Comparison(model, tuner, objective, part=ReferencePart(), sum_over_ranks=list, trains=True)

    def batches() -> Iterator[Batch]:
        assert parts.tokenizer is not None
        pad_id, size = padding_id(parts.tokenizer), config.training.batch_rows
        for begin in range(0, len(places), size):
            chosen = [rows[place] for place in places[begin : begin + size]]
            yield to_device(collate(chosen, layout=policy.layout, pad_id=pad_id), device)

    def loss(batch: Batch) -> Tensor:
        comparison.begin([batch], num_batches=1, is_first=False)
        return comparison.loss(model, batch).loss

    was_training = model.training
    model.eval()  # without dropout
    with mixed_precision(config.training, device):
        chosen = tuner.learn_start(model, batches(), loss)
    model.train(was_training)
    torch.clear_autocast_cache()
    say(f"The adapter begins from {len(places):,} of {len(rows):,} training rows.")
    return dict(chosen)


def spread(num_rows: int, wanted: int) -> list[int]:
    """Give the numbers of rows that are spread evenly over all."""
    count = min(num_rows, wanted)
    return [place * num_rows // count for place in range(count)]
