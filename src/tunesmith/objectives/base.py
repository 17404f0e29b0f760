# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The contract of a loss: a pure function of a batch and its scores.

An objective never sees a model, a tokenizer, a rank or a trainer. It returns sums; the trainer divides once, by the
units of the whole optimizer step over all ranks.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from tunesmith.config.section import Section
from tunesmith.core.registry import Registry
from tunesmith.core.types import Batch, LossOutput, RowKind, Scores

if TYPE_CHECKING:
    from torch import Tensor

Unit = Literal["token", "row", "pair"]
Head = Literal["language", "scalar"]
Statistics = Mapping[str, "tuple[Tensor, Tensor]"]


class Objective(ABC):
    """One loss. Subclass, set the class variables, register with `@objectives.register("name")`.

    `is_likelihood` says that the loss of a unit is a negative log-likelihood, so that e to the mean is a perplexity.
    """

    Params: ClassVar[type[Section]]
    row_kind: ClassVar[RowKind]
    unit: ClassVar[Unit]
    head: ClassVar[Head] = "language"
    needs_reference: ClassVar[bool] = False
    is_likelihood: ClassVar[bool] = False

    def __init__(self, params: Section) -> None:
        self.params = params

    @abstractmethod
    def units(self, batch: Batch) -> float:
        """Count what the loss averages over (supervised token weights, rows, or pairs) in one micro-batch."""

    @abstractmethod
    def loss(
        self, batch: Batch, policy: Scores, reference: Scores | None = None, statistics: Statistics | None = None
    ) -> LossOutput:
        """Sum the loss over the units of `batch`; metrics as (sum, count)."""

    def step_statistics(self, batch: Batch, policy: Scores, reference: Scores | None) -> Statistics:
        """Give name → (sum, count) needed over the whole optimizer step before `loss`; empty for plain sums."""
        return {}


objectives: Registry[type[Objective]] = Registry("objective", "tunesmith.objectives", code="config.objective_unknown")
