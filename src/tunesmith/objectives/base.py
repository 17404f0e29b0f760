# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The contract of a loss: a pure function of a batch and its scores.

An objective never sees a model, a tokenizer, a rank or a trainer. It returns sums; the trainer divides once, by the
units of the whole optimizer step over all ranks.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

from tunesmith.config.section import Section
from tunesmith.core.registry import Registry
from tunesmith.core.types import Batch, Detail, LossOutput, RowKind, Scores
from tunesmith.objectives.statistics import Statistics

Unit = Literal["token", "row", "pair"]
Head = Literal["language", "scalar"]


class Objective(ABC):
    """One loss. Subclass, set the class variables, register with `@objectives.register("name")`.

    `is_likelihood` says that the loss of a unit is a negative log-likelihood, so that e to the mean is a perplexity;
    `metric_names` lists the metrics of `loss` that can choose the best checkpoint. `needs_other_answers` asks for a
    further segment in each row, with another row's answer. Segments called one of `only_in_statistics` are scored
    without gradient for `step_statistics`, and `loss` need not see them.
    """

    Params: ClassVar[type[Section]]
    row_kind: ClassVar[RowKind]
    unit: ClassVar[Unit]
    head: ClassVar[Head] = "language"
    is_likelihood: bool = False
    metric_names: ClassVar[tuple[str, ...]] = ()
    needs_other_answers: ClassVar[bool] = False
    only_in_statistics: ClassVar[tuple[str, ...]] = ()

    def __init__(self, params: Section) -> None:
        self.params = params

    @property
    def needs_reference(self) -> bool:
        """Say whether the loss compares with the policy as it started, which may depend on the parameters."""
        return False

    @property
    def details(self) -> frozenset[Detail]:
        """Name what the loss asks of each target beside its log-prob; a divergence is from the policy as it started."""
        return frozenset()

    @property
    def is_plain_sum(self) -> bool:
        """Say whether the loss of a row needs nothing of the other rows of its step, so no `step_statistics`."""
        return True

    @abstractmethod
    def units(self, batch: Batch) -> float:
        """Count what the loss averages over (supervised token weights, rows, or pairs) in one micro-batch."""

    @abstractmethod
    def loss(
        self, batch: Batch, policy: Scores, reference: Scores | None = None, statistics: Statistics | None = None
    ) -> LossOutput:
        """Sum the loss over the units of `batch`; metrics as (sum, count)."""

    def step_statistics(self, batch: Batch, policy: Scores, reference: Scores | None) -> Statistics:
        """Give what `loss` must know of the whole optimizer step; empty for plain sums. No gradient is kept."""
        return Statistics()

    def derived(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Give metrics that follow from the means of others."""
        return {}

    def at_reference(self, batch: Batch, policy: Scores) -> LossOutput:
        """Give the loss and the metrics that policy = reference implies: what step 0 must find."""
        return self.loss(batch, policy, policy, self.step_statistics(batch, policy, policy))


objectives: Registry[type[Objective]] = Registry("objective", "tunesmith.objectives", code="config.objective_unknown")
