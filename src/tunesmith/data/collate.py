# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Token rows → one micro-batch of tensors, packed into a forest or padded, with every target listed outright.

The first token of a child segment is predicted from the last token of its parent; the first token of a root is never a
target. Labels are one number a row, NaN where a row has none. It knows nothing of models and losses.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tunesmith.core.types import NO_PARENT, Batch, FloatArray, ForestLayout, IntArray, LayoutKind, TokenRow

Positions = npt.NDArray[np.int64]


def collate(rows: Sequence[TokenRow], *, layout: LayoutKind, pad_id: int) -> Batch:
    """Build the batch of some rows; no rows give one pad token without targets, so that every rank can step."""
    if not rows:
        return _empty_batch(layout, pad_id)
    segments = _join(rows)
    sources = _sources(segments)
    targets = np.flatnonzero((segments.weights != 0) & (sources >= 0))
    grid = _packed(segments, sources, targets) if layout == "packed" else _padded(segments, targets, pad_id)
    return _to_batch(rows, segments, targets, grid)


def to_padded(batch: Batch, *, pad_id: int = 0) -> Batch:
    """Lay a packed batch out anew with a batch row for each path; its targets stay in their order."""
    assert batch.layout is not None, "the batch is padded already"
    starts = np.asarray(batch.layout.starts)[batch.target_segment_N.cpu().numpy()]
    sources = batch.source_index_N.cpu().numpy()
    segments = _Segments(
        starts=(*batch.layout.starts, batch.layout.ends[-1]),
        parents=batch.layout.parents,
        rows=tuple(batch.segment_row_S.tolist()),
        names=batch.segment_names,
        input_ids=batch.input_ids_BT[0].cpu().numpy().astype(np.int32),
        weights=np.zeros(0, dtype=np.float32),
    )
    grid = _padded(segments, np.where(sources >= starts, sources + 1, starts), pad_id)
    assert grid.attention_mask_BT is not None, "a padded grid has a mask"
    device = batch.input_ids_BT.device
    return replace(
        batch,
        input_ids_BT=_long(grid.input_ids_BT).to(device),
        position_ids_BT=_long(grid.position_ids_BT).to(device),
        attention_mask_BT=_long(grid.attention_mask_BT).to(device),
        layout=None,
        source_index_N=_long(grid.sources_N).to(device),
    )


@dataclass(frozen=True, kw_only=True)
class _Segments:
    """The segments of all rows of a batch, numbered through; `starts` has one entry more than there are segments."""

    starts: tuple[int, ...]
    parents: tuple[int, ...]
    rows: tuple[int, ...]
    names: tuple[str, ...]
    input_ids: IntArray
    weights: FloatArray


def _join(rows: Sequence[TokenRow]) -> _Segments:
    starts, parents, owners = [0], list[int](), list[int]()
    names: list[str] = []
    for number, row in enumerate(rows):
        first = len(parents)
        for length, parent, name in zip(row.segment_lengths, row.segment_parents, row.segment_names, strict=True):
            starts.append(starts[-1] + length)
            parents.append(parent if parent == NO_PARENT else first + parent)
            owners.append(number)
            names.append(name)
    return _Segments(
        starts=tuple(starts),
        parents=tuple(parents),
        rows=tuple(owners),
        names=tuple(names),
        input_ids=np.concatenate([row.input_ids for row in rows]),
        weights=np.concatenate([row.weights for row in rows]),
    )


def _sources(segments: _Segments) -> IntArray:
    """Per token the position of the token that predicts it, in the concatenated rows; -1 where nothing precedes it."""
    sources = np.arange(-1, len(segments.input_ids) - 1, dtype=np.int32)
    last_token: list[int] = []  # of a segment or, where it is empty, of its nearest ancestor
    for index, parent in enumerate(segments.parents):
        before = -1 if parent == NO_PARENT else last_token[parent]
        start, end = segments.starts[index], segments.starts[index + 1]
        if end > start:
            sources[start] = before
        last_token.append(end - 1 if end > start else before)
    return sources


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """The B·T tokens a model reads, and the flat place of the state that predicts each target."""

    input_ids_BT: IntArray
    position_ids_BT: IntArray
    attention_mask_BT: IntArray | None = None
    layout: ForestLayout | None = None
    sources_N: npt.NDArray[np.integer[Any]]


def _packed(segments: _Segments, sources: IntArray, targets: Positions) -> _Grid:
    layout = ForestLayout(starts=segments.starts[:-1], ends=segments.starts[1:], parents=segments.parents)
    return _Grid(
        input_ids_BT=segments.input_ids[None],
        position_ids_BT=layout.positions()[None],
        layout=layout,
        sources_N=sources[targets],
    )


def _padded(segments: _Segments, targets: Positions, pad_id: int) -> _Grid:
    """One batch row per path from a root to a leaf; a target of a shared segment is listed in its first path only."""
    paths = [_path_tokens(segments, leaf) for leaf in _leaves(segments)]
    width = max(1, *(len(path) for path in paths))
    input_ids_BT = np.full((len(paths), width), pad_id, dtype=np.int32)
    mask_BT = np.zeros((len(paths), width), dtype=np.int32)
    place = np.full(len(segments.input_ids), -1, dtype=np.int64)  # token → where it stands first in the B·T states
    for number, path in enumerate(paths):
        input_ids_BT[number, : len(path)] = segments.input_ids[path]
        mask_BT[number, : len(path)] = 1
        flat = number * width + np.arange(len(path))
        place[path] = np.where(place[path] < 0, flat, place[path])
    return _Grid(
        input_ids_BT=input_ids_BT,
        position_ids_BT=np.arange(width, dtype=np.int32) * mask_BT,
        attention_mask_BT=mask_BT,
        sources_N=place[targets] - 1,  # the state before the target on the target's own path
    )


def _leaves(segments: _Segments) -> list[int]:
    with_children = set(segments.parents)
    return [index for index in range(len(segments.parents)) if index not in with_children]


def _path_tokens(segments: _Segments, leaf: int) -> Positions:
    chain = [leaf]
    while segments.parents[chain[-1]] != NO_PARENT:
        chain.append(segments.parents[chain[-1]])
    return np.concatenate([np.arange(segments.starts[i], segments.starts[i + 1]) for i in reversed(chain)])


def _to_batch(rows: Sequence[TokenRow], segments: _Segments, targets: Positions, grid: _Grid) -> Batch:
    labels = [math.nan if row.label is None else row.label for row in rows]
    owners = np.searchsorted(np.asarray(segments.starts), targets, side="right") - 1
    return Batch(
        input_ids_BT=_long(grid.input_ids_BT),
        position_ids_BT=_long(grid.position_ids_BT),
        attention_mask_BT=None if grid.attention_mask_BT is None else _long(grid.attention_mask_BT),
        layout=grid.layout,
        source_index_N=_long(grid.sources_N),
        target_ids_N=_long(segments.input_ids[targets]),
        target_weights_N=torch.from_numpy(segments.weights[targets].astype(np.float32)),
        target_segment_N=_long(owners),
        segment_row_S=torch.tensor(segments.rows, dtype=torch.long),
        segment_names=segments.names,
        rows=tuple(row.source for row in rows),
        num_tokens=len(segments.input_ids),
        labels=None if all(map(math.isnan, labels)) else torch.tensor(labels, dtype=torch.float32),
        reference_logps_N=_known_logps(rows, len(targets)),
        channels=tuple(row.channel for row in rows),
    )


def _known_logps(rows: Sequence[TokenRow], num_targets: int) -> torch.Tensor | None:
    """Join what the reference was found to say before; rows lie in the order of their targets."""
    known = [row.reference_logps for row in rows if row.reference_logps is not None]
    if len(known) < len(rows):
        return None
    joined = np.concatenate(known).astype(np.float32)
    assert len(joined) == num_targets, "a row has one log-prob of the reference for each of its targets"
    return torch.from_numpy(joined)


def _long(array: npt.NDArray[np.integer[Any]]) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.int64))


def _empty_batch(layout: LayoutKind, pad_id: int) -> Batch:
    nothing = torch.zeros(0, dtype=torch.long)
    return Batch(
        input_ids_BT=torch.full((1, 1), pad_id),
        position_ids_BT=torch.zeros((1, 1), dtype=torch.long),
        attention_mask_BT=torch.ones((1, 1), dtype=torch.long) if layout == "padded" else None,
        layout=ForestLayout(starts=(0,), ends=(1,), parents=(NO_PARENT,)) if layout == "packed" else None,
        source_index_N=nothing,
        target_ids_N=nothing,
        target_weights_N=torch.zeros(0),
        target_segment_N=nothing,
        segment_row_S=nothing,
        segment_names=(),
        rows=(),
        num_tokens=0,
    )
