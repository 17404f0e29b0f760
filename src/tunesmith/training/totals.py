# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Counts of a run that stay true over kills and resumes: steps, rows, tokens, loss, seconds, and sums of metrics.

Every rank counts its own share; sums over ranks are made when a number is read. It knows nothing of models.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import torch

from tunesmith.core.types import Batch

# Adds each value over all ranks; the identity on one rank.
SumOverRanks = Callable[[Sequence[float]], list[float]]


@dataclass(kw_only=True)
class Totals:
    """What a run has done so far, over all ranks and all starts. `loss` is the sum of the mean losses of the steps."""

    steps: int = 0
    rows: int = 0
    tokens: int = 0
    positions: int = 0
    supervised_tokens: int = 0
    loss: float = 0.0
    seconds: float = 0.0

    @property
    def mean_loss(self) -> float:
        """Mean of the losses of all steps."""
        return self.loss / self.steps if self.steps else 0.0

    def rate(self, amount: float) -> float:
        """Give an amount per second of training."""
        return amount / self.seconds if self.seconds > 0 else 0.0


class MetricSums:
    """Named metrics as sums and counts; a ratio is taken when they are read."""

    def __init__(self) -> None:
        self._sums: dict[str, list[torch.Tensor | float]] = {}

    def add(self, metrics: Mapping[str, tuple[torch.Tensor | float, torch.Tensor | float]]) -> None:
        """Add the sums and counts of one batch, without waiting for the device."""
        for name, (total, count) in metrics.items():
            known = self._sums.setdefault(name, [0.0, 0.0])
            known[0] = known[0] + _detached(total)
            known[1] = known[1] + _detached(count)

    def means(self, sum_over_ranks: SumOverRanks) -> dict[str, float]:
        """Divide each sum by its count, over all ranks; a metric without any count is left out."""
        return {name: total / count for name, (total, count) in self.summed(sum_over_ranks).items() if count}

    def summed(self, sum_over_ranks: SumOverRanks) -> dict[str, tuple[float, float]]:
        """Give the sums and counts over all ranks."""
        names = _of_all_ranks(sorted(self._sums))
        flat = sum_over_ranks([float(value) for name in names for value in self._sums.get(name, (0.0, 0.0))])
        return dict(zip(names, zip(flat[::2], flat[1::2], strict=True), strict=True))

    def copy(self) -> "MetricSums":
        """Give sums and counts that go their own way from here."""
        other = MetricSums()
        other._sums = {name: list(pair) for name, pair in self._sums.items()}
        return other

    def restore(self, saved: Mapping[str, Sequence[float]]) -> None:
        """Take over sums and counts that `summed` gave."""
        self._sums = {name: list(pair) for name, pair in saved.items()}


def _of_all_ranks(names: list[str]) -> list[str]:
    """Join the names that the ranks know: a channel may have been seen on one of them only."""
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return names
    parts: list[list[str]] = [[] for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(parts, names)
    return sorted({name for part in parts for name in part})


def _detached(value: torch.Tensor | float) -> torch.Tensor | float:
    return value.detach() if isinstance(value, torch.Tensor) else value


@dataclass(kw_only=True)
class Meter:
    """Counts while training runs: the totals since the first start, and a window since the last logged values."""

    before: Totals = field(default_factory=Totals)  # of earlier starts, over all ranks
    here: Totals = field(default_factory=Totals)  # of this start, on this rank
    window_steps: int = 0
    window_loss: float = 0.0
    window_metrics: MetricSums = field(default_factory=MetricSums)
    last_loss: float = 0.0
    _began: float | None = None
    _mark: tuple[Totals, MetricSums] | None = None

    def mark(self) -> None:
        """Remember the counts of micro-batches, at the start of a step."""
        self._mark = (replace(self.here), self.window_metrics.copy())

    def go_back(self) -> None:
        """Take back the micro-batches counted since `mark`."""
        assert self._mark is not None, "mark was called"
        self.here, self.window_metrics = replace(self._mark[0]), self._mark[1].copy()

    def start(self) -> None:
        """Start the clock of training."""
        self._began = time.monotonic()

    def stop(self) -> None:
        """Stop the clock; later work is no training."""
        self.here.seconds = self._seconds_here()
        self._began = None

    def add_batch(self, batch: Batch) -> None:
        """Count the rows and tokens of a micro-batch."""
        self.here.rows += len(batch.rows)
        self.here.tokens += batch.num_tokens
        self.here.positions += batch.input_ids_BT.numel()
        self.here.supervised_tokens += batch.target_ids_N.numel()

    def add_step(self, loss: float) -> None:
        """Count an optimizer step and this rank's share of its mean loss."""
        self.here.steps += 1
        self.here.loss += loss
        self.last_loss = loss
        self.window_steps += 1
        self.window_loss += loss

    def totals(self, sum_over_ranks: SumOverRanks) -> Totals:
        """Give the totals over all ranks and starts; every rank must ask."""
        here = self.here
        summed = sum_over_ranks([here.rows, here.tokens, here.positions, here.supervised_tokens, here.loss])
        before = self.before
        return Totals(
            steps=before.steps + here.steps,
            rows=before.rows + round(summed[0]),
            tokens=before.tokens + round(summed[1]),
            positions=before.positions + round(summed[2]),
            supervised_tokens=before.supervised_tokens + round(summed[3]),
            loss=before.loss + summed[4],
            seconds=before.seconds + self._seconds_here(),
        )

    def take_window(self, sum_over_ranks: SumOverRanks) -> dict[str, float]:
        """Give the mean loss and metrics since the last call, and start a new window."""
        (loss,) = sum_over_ranks([self.window_loss])
        means = self.window_metrics.means(sum_over_ranks)
        if self.window_steps:
            means["loss"] = loss / self.window_steps
        self.window_steps, self.window_loss, self.window_metrics = 0, 0.0, MetricSums()
        return means

    def to_json(self, sum_over_ranks: SumOverRanks) -> dict[str, Any]:
        """Give everything a resumed run needs to go on counting."""
        return {
            "totals": asdict(self.totals(sum_over_ranks)),
            "window_steps": self.window_steps,
            "window_loss": sum_over_ranks([self.window_loss])[0],
            "window_metrics": self.window_metrics.summed(sum_over_ranks),
        }

    def restore(self, saved: Mapping[str, Any], *, is_first_rank: bool) -> None:
        """Take over the counts of a checkpoint; the first rank carries the sums of the open window."""
        known = {item.name for item in fields(Totals)}
        self.before = Totals(**{name: value for name, value in saved["totals"].items() if name in known})
        self.here = Totals()
        self.window_steps = saved["window_steps"]
        if is_first_rank:
            self.window_loss = saved["window_loss"]
            self.window_metrics.restore(saved["window_metrics"])

    def _seconds_here(self) -> float:
        return self.here.seconds + (time.monotonic() - self._began if self._began is not None else 0.0)
