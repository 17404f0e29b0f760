# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What the trainer is handed: the parts that a job puts together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torch import nn

from tunesmith.core.types import LayoutKind
from tunesmith.data.plan import PlanRules
from tunesmith.data.store import TokenRows
from tunesmith.models.aids import TrainingAids
from tunesmith.models.tuners.base import Tuner
from tunesmith.objectives.base import Objective
from tunesmith.training.checkpoints import Checkpoints
from tunesmith.training.comparison import ReferencePart
from tunesmith.training.optimizers.base import OptimizerPart
from tunesmith.training.stream_batches import StreamedBatches

ReportedTokens = Literal["all", "non_padding", "no"]


@dataclass(frozen=True, kw_only=True)
class TrainerParts:
    """What a run is put together from.

    `plan` holds the rules of the training plan; `write_side_files` adds tokenizer and template to a folder of weights;
    `reported_tokens` says whether the log counts the tokens read: all positions, or without padding; `known_metrics`
    are those of each evaluation set that no model changes.
    """

    model: nn.Module
    tuner: Tuner
    objective: Objective
    train: TokenRows | None
    evals: Mapping[str, TokenRows]
    plan: PlanRules
    layout: LayoutKind
    pad_id: int
    checkpoints: Checkpoints
    write_side_files: Callable[[Path], None]
    compute_accuracy: bool = False
    reported_tokens: ReportedTokens = "no"
    stream: StreamedBatches | None = None
    reports_each_set: bool = False
    optimizer: OptimizerPart | None = None
    trains: bool = True
    aids: TrainingAids = field(default_factory=TrainingAids)
    reference: ReferencePart = field(default_factory=ReferencePart)
    known_metrics: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)

    @property
    def updates_early(self) -> bool:
        """Whether the optimizer changes weights inside the backward pass."""
        return self.optimizer is not None and self.optimizer.steps_in_backward
