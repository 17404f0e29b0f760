# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Several data sets in one order: one after the other, or in turns, as positions in the sets laid end to end.

The order is the one that `datasets.interleave_datasets` gives LLaMA-Factory, row by row, without a Python object a row.
It knows the sizes of the sets and nothing of what is in them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tunesmith.core.errors import refusal

Positions = npt.NDArray[np.int64]
MixStrategy = Literal["concat", "interleave_under", "interleave_over", "interleave_once"]


@dataclass(frozen=True, kw_only=True)
class MixRules:
    """How several data sets become one order; `weights` are shares of any sum, None lets the sets take turns."""

    strategy: MixStrategy = "concat"
    weights: tuple[float, ...] | None = None
    seed: int = 0


# Sets drawn at a time; the draws are the same whatever the number.
_DRAWS = 100_000


def mix_sets(
    sizes: Sequence[int], *, strategy: MixStrategy = "concat", weights: Sequence[float] | None = None, seed: int = 0
) -> Positions:
    """Give the positions of the mixed rows in the sets laid end to end.

    interleave_under stops when the first set ends; interleave_over begins ended sets anew until all have ended;
    interleave_once leaves ended sets out. Sets take turns, or are drawn by `weights` (shares of any sum).
    """
    if strategy == "concat" or len(sizes) < 2:
        return np.arange(sum(sizes), dtype=np.int64)
    drawn = _in_turns(sizes, strategy) if weights is None else _by_weight(sizes, strategy, weights, seed)
    starts = np.cumsum([0, *sizes[:-1]])
    positions: Positions = _rows_of(drawn, sizes) + starts[drawn]
    return positions


def shares_of(weights: Sequence[float], num_sets: int) -> npt.NDArray[np.float64]:
    """Turn the weights of sets into shares that add up to 1, or refuse them."""
    shares = np.asarray(weights, dtype=np.float64)
    if len(shares) != num_sets:
        raise _wrong_weights(weights, f"{len(shares)} values for {num_sets} data sets")
    if not np.isfinite(shares).all() or (shares < 0).any() or not shares.sum() > 0:
        raise _wrong_weights(weights, "a value that is no share")
    # Shares that add up already stay as they are, so that the draws are LLaMA-Factory's to the last bit.
    return shares if abs(shares.sum() - 1) < 1e-8 else shares / shares.sum()


def _wrong_weights(weights: Sequence[float], fault: str) -> Exception:
    return refusal(
        "data.mix_weights_invalid",
        f"interleave_probs is {', '.join(f'{weight:g}' for weight in weights)}: {fault}.",
        "Write one share from 0 for each data set, in their order, and at least one above 0.",
        key="interleave_probs",
    )


def _in_turns(sizes: Sequence[int], strategy: MixStrategy) -> Positions:
    """Name the set of each row when the sets take turns."""
    if strategy == "interleave_once":
        turns = np.concatenate([np.arange(size) for size in sizes])
        owners = np.repeat(np.arange(len(sizes)), sizes)
        return owners[np.lexsort((owners, turns))]
    rounds = min(sizes) if strategy == "interleave_under" else max(sizes)
    return np.tile(np.arange(len(sizes)), rounds)


def _by_weight(sizes: Sequence[int], strategy: MixStrategy, weights: Sequence[float], seed: int) -> Positions:
    """Name the set of each row when sets are drawn by weight."""
    shares = shares_of(weights, len(sizes))
    wanted = np.asarray(sizes)
    if strategy != "interleave_under" and (shares[wanted > 0] == 0).any():
        raise _wrong_weights(weights, f"a set that is never drawn cannot come to its end, as {strategy} asks")
    generator = np.random.default_rng(seed)
    blocks: list[Positions] = []
    counts = np.zeros(len(sizes), dtype=np.int64)
    drawable = shares > 0
    while not _has_ended(counts[drawable] >= wanted[drawable], strategy):
        block = generator.choice(len(sizes), size=_DRAWS, p=shares)
        if strategy == "interleave_once":
            block = block[counts[block] + _occurrence(block, len(sizes)) < wanted[block]]
        blocks.append(block)
        counts += np.bincount(block, minlength=len(sizes))
    drawn = np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.int64)
    return drawn if strategy == "interleave_once" else drawn[: _end_of(drawn, sizes, strategy)]


def _has_ended(reached: npt.NDArray[np.bool_], strategy: MixStrategy) -> bool:
    return bool(reached.any() if strategy == "interleave_under" else reached.all())


def _end_of(drawn: Positions, sizes: Sequence[int], strategy: MixStrategy) -> int:
    """Find the draw that takes the last row of the first set that ends, or of the last one."""
    ends = []
    for number, size in enumerate(sizes):
        places = np.flatnonzero(drawn == number)
        if size and len(places) >= size:
            ends.append(int(places[size - 1]) + 1)
    return (min if strategy == "interleave_under" else max)(ends, default=0)


def _rows_of(drawn: Positions, sizes: Sequence[int]) -> Positions:
    """Count through the rows of each set as it is drawn; a set that has ended begins anew."""
    rows: Positions = _occurrence(drawn, len(sizes)) % np.maximum(np.asarray(sizes), 1)[drawn]
    return rows


def _occurrence(drawn: Positions, num_sets: int) -> Positions:
    """Say for each draw how often its set was drawn before."""
    before = np.zeros(len(drawn), dtype=np.int64)
    for number in range(num_sets):
        places = np.flatnonzero(drawn == number)
        before[places] = np.arange(len(places))
    return before
