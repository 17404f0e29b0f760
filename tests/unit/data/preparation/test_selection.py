# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rows are drawn, held out and mixed as whole records, whatever number of token rows each became."""

from pathlib import Path

import numpy as np
import pytest

from tests.unit.data.preparation.words import open_texts, tasks_of, workshop, write_texts
from tunesmith.data.mixing import MixRules
from tunesmith.data.preparation.engine import EngineRules, make_shards
from tunesmith.data.preparation.selection import SetRows, hold_out, select, select_plain, whole_records
from tunesmith.data.preparation.sharded import PlacedShard, ShardedStore
from tunesmith.data.sampling import Chosen


@pytest.fixture
def sets(tmp_path: Path) -> list[SetRows]:
    """Two sets of records 0–6 and 7–10, in blocks of 3; record `n` has the tokens n n … and 1 to 3 token rows."""
    shop, folder = workshop(cutoff_len=4), tmp_path / "shards"
    placed: list[PlacedShard] = []
    firsts: list[tuple[int, list[int]]] = []
    for name, records in (("one", range(7)), ("two", range(7, 11))):
        texts = [" ".join([str(record)] * (1 + 4 * (record % 3))) for record in records]
        tasks = tasks_of(open_texts(write_texts(tmp_path, texts, f"{name}.txt"), block_rows=3), folder)
        made = make_shards(shop, tasks, EngineRules(folder=folder))
        firsts.append((len(placed), [0] * len(tasks)))
        placed += [PlacedShard(made.shards[task.path], name, task.block.file) for task in tasks]
    store = ShardedStore(placed)
    return [
        SetRows(store=store, chosen=Chosen(num_rows=num_rows), first_shard=first, record_starts=np.array(starts))
        for (first, starts), num_rows in zip(firsts, (7, 4), strict=True)
    ]


def records(sets: list[SetRows], index: np.ndarray) -> list[int]:
    """Name the record that each token row is from, 0–10."""
    found = [sets[0].store.source(int(number)) for number in index]
    return [source.row + 7 * (source.dataset == "two") for source in found]


def with_order(rows: SetRows, order: list[int]) -> SetRows:
    chosen = Chosen(num_rows=rows.chosen.num_rows, order=np.array(order))
    return SetRows(store=rows.store, chosen=chosen, first_shard=rows.first_shard, record_starts=rows.record_starts)


def times(*numbers: int) -> list[int]:
    return [record for record in numbers for _ in range(1 + record % 3)]


def test_all_rows_in_order_are_a_range(sets: list[SetRows]) -> None:
    assert select_plain(sets, MixRules()) == slice(0, len(sets[0].store))
    assert records(sets, select(sets, MixRules())) == times(*range(11))
    assert select_plain(sets, MixRules(strategy="interleave_once")) is None
    assert select_plain(sets[1:], MixRules(strategy="interleave_once")) == slice(sets[1].first, sets[1].last)


def test_drawn_rows_repeat_whole_records(sets: list[SetRows]) -> None:
    drawn = [with_order(sets[0], [5, 1, 5, 0]), sets[1]]
    assert select_plain(drawn, MixRules()) is None
    assert records(sets, select(drawn, MixRules())) == times(5, 1, 5, 0, 7, 8, 9, 10)


def test_sets_take_turns_by_records(sets: list[SetRows]) -> None:
    mixed = records(sets, select(sets, MixRules(strategy="interleave_once")))
    assert mixed == times(0, 7, 1, 8, 2, 9, 3, 10, 4, 5, 6)


def test_held_out_records_are_whole_and_nowhere_else(sets: list[SetRows]) -> None:
    split = hold_out(sets, 4, seed=0, by="group")
    held = records(sets, whole_records(sets, split.held_out))
    kept = records(sets, select(sets, MixRules(), without=split.held_out))
    assert len(set(held)) == 4 and not set(held) & set(kept)
    assert sorted(held + kept) == sorted(times(*range(11)))
