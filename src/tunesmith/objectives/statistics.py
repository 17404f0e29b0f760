# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What a loss that is no plain sum must know about its whole optimizer step, without gradient.

It is taken of every micro-batch, joined over micro-batches and ranks, and then handed to the loss of each.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

SumAndCount = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Sums and counts over the step, the same that go on over the whole run (`running`), and one number a row."""

    sums: Mapping[str, SumAndCount] = field(default_factory=dict)
    running: Mapping[str, SumAndCount] = field(default_factory=dict)
    rows: Mapping[str, "Tensor"] = field(default_factory=dict)

    def mean(self, name: str) -> float:
        """Give the mean of a sum of the step, 0 where nothing was counted."""
        return _mean(self.sums.get(name))

    def running_mean(self, name: str) -> float:
        """Give the mean of a sum of the run."""
        return _mean(self.running.get(name))

    def is_empty(self) -> bool:
        """Say whether there is nothing to join."""
        return not (self.sums or self.running or self.rows)


def _mean(pair: SumAndCount | None) -> float:
    total, count = pair or (0.0, 0.0)
    return total / count if count else 0.0


def join_statistics(parts: Iterable[Statistics]) -> Statistics:
    """Add sums and counts, and concatenate the rows."""
    known = list(parts)
    names = sorted({name for part in known for name in part.rows})
    return Statistics(
        sums=_added([part.sums for part in known]),
        running=_added([part.running for part in known]),
        rows={name: torch.cat([part.rows[name] for part in known if name in part.rows]) for name in names},
    )


def _added(parts: list[Mapping[str, SumAndCount]]) -> dict[str, SumAndCount]:
    totals: dict[str, SumAndCount] = {}
    for part in parts:
        for name, (total, count) in part.items():
            before = totals.get(name, (0.0, 0.0))
            totals[name] = (before[0] + total, before[1] + count)
    return totals
