# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What a loss needs beside the scores of its batch: the reference's scores, and the statistics of the whole step.

The reference is the policy exactly as it starts; the first batch of a run proves it (the step-0 gate).
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from tunesmith.core.errors import refusal
from tunesmith.core.types import Batch, LossOutput, Scores
from tunesmith.models.scores import score_batch
from tunesmith.models.tuners.base import Tuner, trained_parameters
from tunesmith.objectives.base import Objective
from tunesmith.objectives.statistics import Statistics, join_statistics
from tunesmith.training.totals import SumOverRanks

# How far loss and rewards may be from what policy = reference implies. Both sides are computed in the same layout by
# the same kernels, so float32 only has the rounding of sums; shorter formats round each hidden state.
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}
SHORT_TOLERANCE = 2e-2


@dataclass(frozen=True, kw_only=True)
class StepZero:
    """What the first batch showed: the loss of a unit, what policy = reference implies, and the largest gap of all."""

    loss: float
    implied: float
    gap: float
    widest: str


class Comparison:
    """Scores batches by the reference and collects statistics; `running` holds those that go on over the run."""

    def __init__(
        self, module: nn.Module, tuner: Tuner, objective: Objective, *, sum_over_ranks: SumOverRanks, trains: bool
    ) -> None:
        self._module, self._tuner, self._objective = module, tuner, objective
        self._sum_over_ranks = sum_over_ranks
        self._is_trained = trains and bool(trained_parameters(module))  # else the policy is its own reference
        self.running = Statistics()
        self.step_zero: StepZero | None = None
        if objective.needs_reference and self._is_trained:
            tuner.remember_base(module)

    def reference(self, batch: Batch) -> Scores | None:
        """Score a batch by the policy as it started, without dropout; None where the loss compares with nothing."""
        if not self._objective.needs_reference:
            return None
        view: AbstractContextManager[None] = self._tuner.base_view(self._module) if self._is_trained else nullcontext()
        with evaluating(self._module), view:
            return score_batch(self._module, batch)

    def of_step(self, batches: Iterable[Batch]) -> Statistics:
        """Walk the micro-batches of a step once without gradient, where the loss is no plain sum."""
        if self._objective.is_plain_sum:
            return Statistics()
        return self.join([self._statistics(batch) for batch in batches], keep=True)

    def join(self, parts: Sequence[Statistics], *, keep: bool) -> Statistics:
        """Join the statistics of batches over all ranks with those of the run, which `keep` says to go on from."""
        here = join_statistics(parts)
        flat = [value for pairs in (here.sums, here.running) for name in sorted(pairs) for value in pairs[name]]
        summed = self._sum_over_ranks(flat)
        pairs = list(zip(summed[::2], summed[1::2], strict=True))
        sums = dict(zip(sorted(here.sums), pairs, strict=False))
        running = Statistics(running=dict(zip(sorted(here.running), pairs[len(sums) :], strict=True)))
        is_first = not self.running.running
        known = join_statistics([self.running, running]) if keep or is_first else self.running
        if keep:
            self.running = known
        return Statistics(sums=sums, running=known.running, rows=gathered(here))

    def check_start(self, batch: Batch) -> None:
        """Refuse to train when the first batch does not show what policy = reference implies."""
        if not (self._objective.needs_reference and self._is_trained and batch.rows):
            return
        with evaluating(self._module):
            policy = score_batch(self._module, batch)
        reference = self.reference(batch)
        statistics = self._objective.step_statistics(batch, policy, reference)
        found = self._objective.loss(batch, policy, reference, statistics)
        implied = self._objective.at_reference(batch, policy)
        units = self._objective.units(batch)
        self.step_zero = compare(found, implied, units=units)
        format_ = next(self._module.parameters()).dtype
        is_short = torch.is_autocast_enabled(policy.logps_N.device.type) or format_ not in TOLERANCE
        tolerance = SHORT_TOLERANCE if is_short else TOLERANCE[format_]
        if self.step_zero.gap > tolerance:
            raise self._refused(self.step_zero, tolerance)

    def _statistics(self, batch: Batch) -> Statistics:
        with torch.no_grad():
            policy = score_batch(self._module, batch)
        torch.clear_autocast_cache()  # casts made here carry no gradient; the step's own forward must not find them
        return self._objective.step_statistics(batch, policy, self.reference(batch))

    def _refused(self, found: StepZero, tolerance: float) -> Exception:
        return refusal(
            "training.reference_differs",
            f"Before the first step policy and reference must be the same model, but {found.widest} is off by "
            f"{found.gap:.4g} (at most {tolerance:g}); the loss is {found.loss:.4f} instead of {found.implied:.4f}.",
            "Nothing was trained. Continue the adapter with adapter_name_or_path, so that its start is the reference; "
            "if you did, this is a fault of ours: please report it.",
        )


def compare(found: LossOutput, implied: LossOutput, *, units: float) -> StepZero:
    """Measure how far the loss of a unit and the rewards are from what they must be."""
    loss, wanted = found.loss.item() / units, implied.loss.item() / units
    gaps = {"the loss": abs(loss - wanted)}
    for name, (total, count) in found.metrics.items():
        if name in ("rewards/chosen", "rewards/rejected", "rewards/margins", "kl"):
            gaps[name] = abs(float(total) - float(implied.metrics[name][0])) / max(float(count), 1.0)
    widest = max(gaps, key=lambda name: gaps[name])
    margin = "rewards/margins"
    shown = margin if margin in gaps and gaps[margin] > TOLERANCE[torch.float32] else widest
    return StepZero(loss=loss, implied=wanted, gap=gaps[shown], widest=shown)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Compute without gradient and without dropout; no cast made inside is found by a later forward."""
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(was_training)
        torch.clear_autocast_cache()


def gathered(statistics: Statistics) -> dict[str, torch.Tensor]:
    """Concatenate the rows of all ranks."""
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return dict(statistics.rows)
    parts: list[dict[str, torch.Tensor]] = [{} for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(parts, {name: rows.cpu() for name, rows in statistics.rows.items()})
    return {name: torch.cat([part[name] for part in parts]).to(rows.device) for name, rows in statistics.rows.items()}
