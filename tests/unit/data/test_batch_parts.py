# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of a batch give the very scores that the whole gives, packed and padded."""

import numpy as np
import pytest
import torch

from tests.unit.training.batches import make_feedback, make_pairs
from tests.unit.training.runs import tiny_model
from tunesmith.core.types import Batch, LayoutKind
from tunesmith.data.batch_parts import paths_alone, without_segments
from tunesmith.data.collate import collate, to_padded
from tunesmith.data.mismatched import MismatchedRows
from tunesmith.data.plan import PlanRules, plan_epoch
from tunesmith.data.planned_lengths import planned_lengths
from tunesmith.data.store import build_store
from tunesmith.models.scores import score_batch

LENGTHS = (4, 9, 3, 7, 6)


def feedback_batch(layout: LayoutKind) -> Batch:
    rows = MismatchedRows(build_store(make_feedback(LENGTHS)))
    return collate([rows[number] for number in range(len(rows))], layout=layout, pad_id=0)


@pytest.mark.parametrize("layout", ["packed", "padded"])
@pytest.mark.parametrize("left_out", ["answer", "mismatched"])
def test_segments_left_out_change_no_other_score(layout: LayoutKind, left_out: str) -> None:
    model, batch = tiny_model().eval(), feedback_batch(layout)
    part, kept_N = without_segments(batch, (left_out,))
    assert kept_N is not None and 0 < len(kept_N) < len(batch.target_ids_N)
    assert part.input_ids_BT.numel() < batch.input_ids_BT.numel()
    with torch.no_grad():
        whole, alone = score_batch(model, batch).logps_N, score_batch(model, part).logps_N
    assert torch.allclose(alone, whole[kept_N], atol=1e-6)
    names = {part.segment_names[segment] for segment in part.target_segment_N.tolist()}
    assert names == {"answer", "mismatched"} - {left_out} and part.rows == batch.rows


def test_a_batch_without_such_segments_stays_as_it_is() -> None:
    batch = feedback_batch("packed")
    part, kept_N = without_segments(batch, ("chosen",))
    assert part is batch and kept_N is None


def test_other_layouts_list_the_same_targets_with_the_same_scores() -> None:
    store, model = build_store(make_pairs(LENGTHS)), tiny_model().eval()
    batch = collate([store[number] for number in range(len(store))], layout="packed", pad_id=0)
    padded = to_padded(batch)
    assert padded.layout is None and torch.equal(padded.target_ids_N, batch.target_ids_N)
    direct = collate([store[number] for number in range(len(store))], layout="padded", pad_id=0)
    assert torch.equal(padded.input_ids_BT, direct.input_ids_BT)
    assert torch.equal(padded.source_index_N, direct.source_index_N)
    with torch.no_grad():
        expected = score_batch(model, batch).logps_N
        alone = torch.zeros_like(expected)
        for part, kept_N in paths_alone(padded):
            alone[kept_N] = score_batch(model, part).logps_N
        assert torch.allclose(score_batch(model, padded).logps_N, expected, atol=1e-5)
        assert torch.allclose(alone, expected, atol=1e-5)


def test_padded_rows_with_answers_count_all_their_paths() -> None:
    store = build_store(make_pairs(tuple(range(3, 40))))
    budget = 120
    rules = PlanRules(seed=0, batch_rows=1, tokens_per_batch=budget, layout="padded")
    lengths = planned_lengths(store, rules)
    assert np.array_equal(
        planned_lengths(store, PlanRules(seed=0, batch_rows=1, tokens_per_batch=budget)), store.lengths
    )
    plan = plan_epoch(lengths, rules, epoch=0)
    sizes = [collate([store[row] for row in rows], layout="padded", pad_id=0).input_ids_BT.numel() for rows in plan]
    assert max(size for size, rows in zip(sizes, plan, strict=True) if len(rows) > 1) <= budget
    unaware = plan_epoch(store.lengths, rules, epoch=0)
    counted = [
        collate([store[row] for row in rows], layout="padded", pad_id=0).input_ids_BT.numel() for rows in unaware
    ]
    assert max(size for size, rows in zip(counted, unaware, strict=True) if len(rows) > 1) > budget
