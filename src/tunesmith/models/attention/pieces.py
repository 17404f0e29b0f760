# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Cuts the attention of a forest into rectangles of queries and keys, so that no keys are copied and few need a mask.

Each segment attends to itself (causal squares, equal neighbours in one batch) and each ancestor is read by the spans of
its descendants (full rectangles); outputs of one query are added up by their log-sums. It knows no tensors but masks.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from tunesmith.core.types import NO_PARENT, ForestLayout

Span = tuple[int, int]

# Rows of a windowed segment that are attended at once: keys outside of every row's window are left out.
_WINDOW_ROWS = 256


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A rectangle of `count` neighbours: queries and keys are spans of the row, `distance` is how far on their path
    the first query stands behind the first key; keys further than `window` behind a query are not seen.
    """

    queries: Span
    keys: Span
    distance: int = 0
    window: int | None = None
    count: int = 1

    @property
    def num_queries(self) -> int:
        """Queries of one neighbour."""
        return (self.queries[1] - self.queries[0]) // self.count

    @property
    def num_keys(self) -> int:
        """Keys of one neighbour."""
        return (self.keys[1] - self.keys[0]) // self.count

    @property
    def is_causal(self) -> bool:
        """Say whether it is a plain causal square."""
        is_square = self.distance == 0 and self.num_queries == self.num_keys
        return is_square and (self.window is None or self.window >= self.num_keys)

    def mask(self, device: torch.device) -> Tensor | None:
        """Give the mask of allowed pairs; None where all are, or where plain causal says the same."""
        farthest = self.distance + self.num_queries
        sees_all = self.distance >= self.num_keys - 1 and (self.window is None or farthest <= self.window)
        if self.is_causal or sees_all:
            return None
        mask = torch.ones(self.num_queries, self.num_keys, dtype=torch.bool, device=device).tril(self.distance)
        return mask if self.window is None else mask.triu(self.distance - self.window + 1)


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """All pieces of a layout: `own` covers every query exactly once, `inherited` adds what ancestors contribute."""

    own: tuple[Piece, ...]
    inherited: tuple[Piece, ...]


@lru_cache(maxsize=8)  # all layers of a step ask for the same one or two
def cut(layout: ForestLayout, window: int | None) -> Pieces:
    """Cut a layout into pieces."""
    own = [piece for span in zip(layout.starts, layout.ends, strict=True) for piece in _own_pieces(span, window)]
    find = _unwindowed if window is None else _windowed
    return Pieces(own=tuple(_batched(own)), inherited=tuple(find(layout, window or 0)) if _has_children(layout) else ())


def _has_children(layout: ForestLayout) -> bool:
    return any(parent != NO_PARENT for parent in layout.parents)


def _own_pieces(span: Span, window: int | None) -> list[Piece]:
    start, end = span
    if window is None or window >= end - start:
        return [Piece(queries=span, keys=span)] if end > start else []
    pieces = []
    for first in range(start, end, _WINDOW_ROWS):
        last = min(first + _WINDOW_ROWS, end)
        seen = max(start, first - window + 1)
        pieces.append(Piece(queries=(first, last), keys=(seen, last), distance=first - seen, window=window))
    return pieces


def _batched(pieces: list[Piece]) -> list[Piece]:
    """Join neighbouring causal squares of one size."""
    joined: list[Piece] = []
    for piece in pieces:
        before = joined[-1] if joined else None
        if before and before.is_causal and piece.is_causal and before.num_keys == piece.num_keys:
            span = (before.queries[0], piece.queries[1])
            joined[-1] = Piece(queries=span, keys=span, count=before.count + 1)
        else:
            joined.append(piece)
    return joined


def _unwindowed(layout: ForestLayout, _: int) -> list[Piece]:
    """One rectangle for each run of neighbouring descendants of a segment."""
    runs: dict[int, list[Span]] = {}
    for segment, (start, end) in enumerate(zip(layout.starts, layout.ends, strict=True)):
        for ancestor in layout.ancestors(segment) if end > start else ():
            spans = runs.setdefault(ancestor, [])
            if spans and spans[-1][1] == start:
                spans[-1] = (spans[-1][0], end)
            else:
                spans.append((start, end))
    return [
        # Every descendant stands behind the whole ancestor, so any distance of its length or more says the same.
        Piece(queries=span, keys=keys, distance=keys[1] - keys[0])
        for ancestor, spans in sorted(runs.items())
        for keys in [(layout.starts[ancestor], layout.ends[ancestor])]
        if keys[1] > keys[0]
        for span in spans
    ]


def _windowed(layout: ForestLayout, window: int) -> list[Piece]:
    """One rectangle for each segment and ancestor, without the keys and queries that no window joins."""
    pieces = []
    for segment, (start, end) in enumerate(zip(layout.starts, layout.ends, strict=True)):
        depth = layout.depth(segment)
        for ancestor in layout.ancestors(segment):
            first, last = layout.starts[ancestor], layout.ends[ancestor]
            distance = depth - layout.depth(ancestor)
            unseen = max(0, distance - window + 1)  # keys that even the first query does not see
            nearest = distance - (last - first) + 1  # from the last key to the first query
            last_query = min(end, start + window - nearest)
            if unseen < last - first and last_query > start:
                span, keys = (start, last_query), (first + unseen, last)
                pieces.append(Piece(queries=span, keys=keys, distance=distance - unseen, window=window))
    return pieces
