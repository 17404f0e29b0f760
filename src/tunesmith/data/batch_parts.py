# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of a micro-batch as batches of their own: without some segments, or with each path alone.

Nothing that stays is computed otherwise: a segment sees its ancestors only.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from tunesmith.core.types import NO_PARENT, Batch, ForestLayout


def without_segments(batch: Batch, names: Collection[str]) -> tuple[Batch, Tensor | None]:
    """Leave segments of some names out, which must be leaves; give also the numbers of the targets that stay.

    None: all of them, and the batch is as it was.
    """
    if not set(names).intersection(batch.segment_names):
        return batch, None
    stays_S = torch.tensor([name not in names for name in batch.segment_names], dtype=torch.bool)
    kept_N = torch.nonzero(stays_S.to(batch.target_segment_N.device)[batch.target_segment_N])[:, 0]
    cut = _cut_packed(batch, stays_S, kept_N) if batch.layout is not None else _cut_padded(batch, kept_N)
    return cut, kept_N


def paths_alone(batch: Batch) -> Iterator[tuple[Batch, Tensor]]:
    """Give each row of a padded batch that has targets as a batch without padding, with the numbers of its targets."""
    assert batch.attention_mask_BT is not None, "a packed batch has no rows of its own"
    width = batch.input_ids_BT.shape[1]
    for row, length in enumerate(batch.attention_mask_BT.sum(dim=1).tolist()):
        kept_N = torch.nonzero(batch.source_index_N // width == row)[:, 0]
        if len(kept_N):
            alone = _of_targets(batch, kept_N)
            yield (
                replace(
                    alone,
                    input_ids_BT=batch.input_ids_BT[row : row + 1, :length],
                    position_ids_BT=batch.position_ids_BT[row : row + 1, :length],
                    attention_mask_BT=batch.attention_mask_BT[row : row + 1, :length],
                    source_index_N=alone.source_index_N - row * width,
                ),
                kept_N,
            )


def _cut_packed(batch: Batch, stays_S: Tensor, kept_N: Tensor) -> Batch:
    layout, device = batch.layout, batch.input_ids_BT.device
    assert layout is not None, "called for packed batches"
    kept = torch.nonzero(stays_S)[:, 0].tolist()
    number = {segment: place for place, segment in enumerate(kept)}
    lengths = [layout.ends[segment] - layout.starts[segment] for segment in kept]
    ends = torch.tensor([0, *lengths]).cumsum(0).tolist()
    tokens = torch.cat([torch.arange(layout.starts[segment], layout.ends[segment]) for segment in kept]).to(device)
    place_T = torch.zeros(batch.input_ids_BT.shape[1], dtype=torch.long, device=device)
    place_T[tokens] = torch.arange(len(tokens), device=device)
    number_S = torch.tensor([number.get(segment, NO_PARENT) for segment in range(len(stays_S))], device=device)
    cut = _of_targets(batch, kept_N)
    return replace(
        cut,
        input_ids_BT=batch.input_ids_BT[:, tokens],
        position_ids_BT=batch.position_ids_BT[:, tokens],
        layout=ForestLayout(
            starts=tuple(ends[:-1]),
            ends=tuple(ends[1:]),
            parents=tuple(number.get(layout.parents[segment], NO_PARENT) for segment in kept),
        ),
        source_index_N=place_T[cut.source_index_N],
        target_segment_N=number_S[cut.target_segment_N],
        segment_row_S=batch.segment_row_S[stays_S.to(batch.segment_row_S.device)],
        segment_names=tuple(batch.segment_names[segment] for segment in kept),
        num_tokens=len(tokens),
    )


def _cut_padded(batch: Batch, kept_N: Tensor) -> Batch:
    """Leave the paths out whose targets have all gone; the segments keep their numbers."""
    rows_B, width = torch.arange(len(batch.input_ids_BT), device=batch.input_ids_BT.device), batch.input_ids_BT.shape[1]
    row_N = batch.source_index_N // width
    stays_B = torch.isin(rows_B, row_N[kept_N]) | ~torch.isin(rows_B, row_N)
    place_B = stays_B.cumsum(0) - 1
    cut = _of_targets(batch, kept_N)
    assert batch.attention_mask_BT is not None, "a padded batch has a mask"
    return replace(
        cut,
        input_ids_BT=batch.input_ids_BT[stays_B],
        position_ids_BT=batch.position_ids_BT[stays_B],
        attention_mask_BT=batch.attention_mask_BT[stays_B],
        source_index_N=place_B[row_N[kept_N]] * width + cut.source_index_N % width,
    )


def _of_targets(batch: Batch, kept_N: Tensor) -> Batch:
    known_N = batch.reference_logps_N
    return replace(
        batch,
        source_index_N=batch.source_index_N[kept_N],
        target_ids_N=batch.target_ids_N[kept_N],
        target_weights_N=batch.target_weights_N[kept_N],
        target_segment_N=batch.target_segment_N[kept_N],
        reference_logps_N=None if known_N is None else known_N[kept_N],
    )
