# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The step-0 gate in numbers: what the first batch shows, what policy = reference implies, and how far they may differ.

Both sides are computed in the same layout by the same kernels, so float32 only has the rounding of sums. For shorter
formats the tolerance is measured: how much the policy differs from itself in another layout.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from tunesmith.core.errors import TunesmithError, refusal
from tunesmith.core.types import Batch, LossOutput, Scores
from tunesmith.data.batch_parts import paths_alone
from tunesmith.data.collate import to_padded
from tunesmith.objectives.base import Objective

TOLERANCE = 1e-3
# The two layouts of one batch are one sample of the noise; another batch, or scores kept from one, may show more.
LAYOUT_FACTOR = 4.0
_MARGIN = "rewards/margins"
_COMPARED = ("rewards/chosen", "rewards/rejected", _MARGIN, "kl")


@dataclass(frozen=True, kw_only=True)
class StepZero:
    """What the first batch showed: the loss of a unit, what policy = reference implies, and the largest gap of all."""

    loss: float
    implied: float
    gap: float
    widest: str
    margin: float | None = None
    tolerance: float = TOLERANCE

    def to_json(self) -> dict[str, Any]:
        """Give the numbers as JSON."""
        return asdict(self)


def measure(objective: Objective, batch: Batch, policy: Scores, reference: Scores) -> StepZero:
    """Compare the loss and the rewards of a batch with what they would be if the reference were the policy."""
    found = objective.loss(batch, policy, reference, objective.step_statistics(batch, policy, reference))
    return compare(found, objective.at_reference(batch, policy), units=objective.units(batch))


def compare(found: LossOutput, implied: LossOutput, *, units: float) -> StepZero:
    """Measure how far the loss of a unit and the rewards are from what they must be."""
    loss, wanted = found.loss.item() / units, implied.loss.item() / units
    gaps = {"the loss": abs(loss - wanted)}
    for name, (total, count) in found.metrics.items():
        if name in _COMPARED:
            gaps[name] = abs(float(total) - float(implied.metrics[name][0])) / max(float(count), 1.0)
    widest = max(gaps, key=lambda name: gaps[name])
    shown = _MARGIN if gaps.get(_MARGIN, 0.0) > TOLERANCE else widest
    margin = found.metrics.get(_MARGIN)
    return StepZero(
        loss=loss,
        implied=wanted,
        gap=gaps[shown],
        widest=shown,
        margin=None if margin is None else float(margin[0]) / max(float(margin[1]), 1.0),
    )


def layout_tolerance(objective: Objective, batch: Batch, policy: Scores, *, score: Callable[[Batch], Scores]) -> float:
    """Measure how far the policy is from itself in another layout, and give what is allowed for it."""
    other = in_other_layout(batch, score)
    return max(TOLERANCE, LAYOUT_FACTOR * measure(objective, batch, policy, other).gap)


def in_other_layout(batch: Batch, score: Callable[[Batch], Scores]) -> Scores:
    """Score the targets of a packed batch padded, and those of a padded one path by path."""
    if batch.layout is not None:
        return Scores(logps_N=score(to_padded(batch)).logps_N)
    logps_N = torch.zeros(len(batch.target_ids_N), device=batch.target_ids_N.device)
    for alone, kept_N in paths_alone(batch):
        logps_N[kept_N] = score(alone).logps_N
    return Scores(logps_N=logps_N)


def refused(found: StepZero) -> TunesmithError:
    """Build the refusal of a reference that is not the policy as it starts."""
    margin = "" if found.margin is None else f" The reward margin is {found.margin:.4g} instead of 0."
    return refusal(
        "training.reference_differs",
        f"Before the first step policy and reference must be the same model, but {found.widest} is off by "
        f"{found.gap:.4g} (at most {found.tolerance:.2g}); the loss is {found.loss:.4f} instead of "
        f"{found.implied:.4f}.{margin}",
        "Nothing was trained. Continue the adapter with adapter_name_or_path, so that its start is the reference, or "
        "name another reference with ref_model; if you did, this is a fault of ours: please report it.",
    )
