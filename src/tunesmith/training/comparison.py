# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What a loss needs beside the scores of its batch: the reference's scores, and the statistics of the whole step.

The reference is the policy exactly as it starts, and the first batch of a run proves it (the step-0 gate), unless the
user named another one. Rows may carry its scores from before; else it is asked once for each micro-batch.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.core.progress import say
from tunesmith.core.types import Batch, LossOutput, Scores
from tunesmith.data.batch_parts import without_segments
from tunesmith.models.scores import score_batch
from tunesmith.models.tuners.base import Tuner, trained_parameters
from tunesmith.objectives.base import Objective
from tunesmith.objectives.statistics import Statistics, join_statistics
from tunesmith.training.scoring import PolicyScorer, evaluating
from tunesmith.training.step_zero import StepZero, layout_tolerance, measure, refused
from tunesmith.training.totals import SumOverRanks

_LONG_FORMATS = (torch.float32, torch.float64)


@dataclass(frozen=True, kw_only=True)
class ReferencePart:
    """The reference of a run: a model of its own where the user named one (`is_named`), and what the record says of it.

    Where the rows carry its scores (`is_cached`), no model is kept.
    """

    model: nn.Module | None = None
    is_named: bool = False
    is_cached: bool = False
    words: str = ""
    hashes: Mapping[str, str] = field(default_factory=dict)


class Comparison:
    """Scores batches by the reference and collects statistics; `running` holds those that go on over the run."""

    def __init__(
        self,
        module: nn.Module,
        tuner: Tuner,
        objective: Objective,
        *,
        part: ReferencePart,
        sum_over_ranks: SumOverRanks,
        trains: bool,
    ) -> None:
        self._module, self._tuner, self._objective, self._part = module, tuner, objective, part
        self._sum_over_ranks = sum_over_ranks
        self._is_trained = trains and bool(trained_parameters(module))  # else the policy is its own reference
        self.scorer = PolicyScorer(module, tuner, objective, trains=trains)
        self._statistics: Statistics | None = None  # of the step, once they are known
        self._found: dict[int, Scores] = {}  # the reference's scores of the step's micro-batches
        self.running = Statistics()
        self._before = self.running  # as it was when the step began
        self.step_zero: StepZero | None = None
        if objective.needs_reference and self._is_trained and part.model is None and not part.is_cached:
            tuner.remember_base(module)

    # The reference

    def reference(self, batch: Batch) -> Scores | None:
        """Score a batch by the reference, without dropout; None where the loss compares with nothing."""
        if not self._objective.needs_reference:
            return None
        if batch.reference_logps_N is not None:
            return Scores(logps_N=batch.reference_logps_N)
        if self._part.is_cached:
            assert not len(batch.target_ids_N), "rows carry the scores of a reference that was computed before"
            return Scores(logps_N=torch.zeros(0, device=batch.target_ids_N.device))
        model = self._module if self._part.model is None else self._part.model
        with evaluating(model), self._start():
            return score_batch(model, batch)

    def _start(self) -> AbstractContextManager[None]:
        is_own = self._part.model is None and self._is_trained
        return self._tuner.base_view(self._module) if is_own else nullcontext()

    def _reference_of_step(self, batch: Batch) -> Scores | None:
        """Ask the reference once for each micro-batch, which keeps its tuple of rows while a step lasts."""
        place = id(batch.rows)
        if place not in self._found:
            found = self.reference(batch)
            if found is None:
                return None
            self._found[place] = found
        return self._found[place]

    # Steps

    def begin(self, batches: Iterable[Batch], *, num_batches: int, is_first: bool) -> None:
        """Begin a step: check the start of the run, and collect the statistics of a loss that is no plain sum."""
        self._found.clear()
        self._statistics = None
        self._before = self.running
        ahead = iter(batches)
        first = [next(ahead)] if is_first else []
        if first:
            self.scorer.check_start(first[0])
            self.check_start(first[0])
        if self._objective.is_plain_sum:
            self._statistics = Statistics()
        elif num_batches > 1 or self._objective.only_in_statistics:
            self._statistics = self.join([self._statistics_of(batch) for batch in (*first, *ahead)], keep=True)

    def rewind(self) -> None:
        """Forget what a step had added to the statistics of the run: it begins again."""
        self.running = self._before

    def loss(self, model: nn.Module, batch: Batch) -> LossOutput:
        """Sum the loss of a micro-batch of the step; a step of one batch takes its statistics from this very pass."""
        shown, kept_N = without_segments(batch, self._objective.only_in_statistics)
        policy = self.scorer.score(model, shown)
        reference = _taken(self._reference_of_step(batch), kept_N)
        if self._statistics is None:
            still = Scores(logps_N=policy.logps_N.detach())
            self._statistics = self.join([self._objective.step_statistics(shown, still, reference)], keep=True)
        return self._objective.loss(shown, policy, reference, self._statistics)

    def _statistics_of(self, batch: Batch) -> Statistics:
        """Score without gradient what the statistics read."""
        only = self._objective.only_in_statistics
        trained = {batch.segment_names[segment] for segment in batch.target_segment_N.unique().tolist()}
        shown, kept_N = without_segments(batch, trained - set(only) if only else ())
        with torch.no_grad():
            policy = score_batch(self._module, shown)
        torch.clear_autocast_cache()  # casts made here carry no gradient; the step's own forward must not find them
        return self._objective.step_statistics(shown, policy, _taken(self._reference_of_step(batch), kept_N))

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

    # Step 0

    def check_start(self, batch: Batch) -> None:
        """Refuse to train when the first batch does not show what policy = reference implies.

        A reference that the user named is only measured.
        """
        if not (self._objective.needs_reference and self._is_trained and batch.rows):
            return
        with evaluating(self._module):
            policy = score_batch(self._module, batch)
        reference = self._reference_of_step(batch)
        assert reference is not None, "the loss needs a reference"
        found = measure(self._objective, batch, policy, reference)
        if not self._part.is_named and self._is_short(policy.logps_N):
            found = replace(found, tolerance=self._measured_tolerance(batch, policy))
        self.step_zero = found
        if self._part.is_named:
            margin = "" if found.margin is None else f" and the reward margin {found.margin:.4f}"
            say(f"The reference is {self._part.words}: before the first step the loss is {found.loss:.4f}{margin}.")
        elif not found.gap <= found.tolerance:
            raise refused(found)

    def _is_short(self, logps_N: Tensor) -> bool:
        format_ = next(self._module.parameters()).dtype
        return torch.is_autocast_enabled(logps_N.device.type) or format_ not in _LONG_FORMATS

    def _measured_tolerance(self, batch: Batch, policy: Scores) -> float:
        with evaluating(self._module):
            return layout_tolerance(
                self._objective, batch, policy, score=lambda other: score_batch(self._module, other)
            )

    # The record

    def describe(self) -> dict[str, Any] | None:
        """Say which reference was used, with hashes, and what step 0 showed; None where nothing is compared."""
        if not self._objective.needs_reference:
            return None
        part = self._part
        return {
            "source": part.words,
            "hashes": dict(part.hashes),
            "is_named_by_user": part.is_named,
            "is_scored_once": part.is_cached,
            "step_0": None if self.step_zero is None else self.step_zero.to_json(),
        }

    def to_json(self) -> dict[str, Any]:
        """Give what a checkpoint keeps."""
        step_zero = None if self.step_zero is None else self.step_zero.to_json()
        return {"running": dict(self.running.running), "step_zero": step_zero}

    def restore(self, progress: Mapping[str, Any]) -> None:
        """Take over what a checkpoint kept; those of earlier versions lack it."""
        running = progress.get("running", {})
        self.running = Statistics(running={name: (total, count) for name, (total, count) in running.items()})
        if progress.get("step_zero") is not None:
            self.step_zero = StepZero(**progress["step_zero"])


def _taken(scores: Scores | None, kept_N: Tensor | None) -> Scores | None:
    return scores if scores is None or kept_N is None else Scores(logps_N=scores.logps_N[kept_N])


def gathered(statistics: Statistics) -> dict[str, torch.Tensor]:
    """Concatenate the rows of all ranks."""
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return dict(statistics.rows)
    parts: list[dict[str, torch.Tensor]] = [{} for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(parts, {name: rows.cpu() for name, rows in statistics.rows.items()})
    return {name: torch.cat([part[name] for part in parts]).to(rows.device) for name, rows in statistics.rows.items()}
