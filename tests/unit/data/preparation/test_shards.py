# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Shards on disk give back what was encoded, and many of them read like one store."""

import copy
from pathlib import Path

import numpy as np
import pytest

from tests.unit.data.preparation.words import open_texts, reading_of, tasks_of, workshop, write_texts
from tests.unit.data.test_store import assert_same
from tunesmith.data.encoders.base import encoders
from tunesmith.data.preparation import sharded
from tunesmith.data.preparation.encoding import EncodedBlock, Recipe, RowGroup, encode_block
from tunesmith.data.preparation.engine import EngineRules, make_shards
from tunesmith.data.preparation.sharded import PlacedShard, ShardedStore
from tunesmith.data.preparation.shards import find_shard, open_rows, read_facts, write_shard
from tunesmith.data.store import RowsView, build_store, pieces_of

TEXTS = ["1 2 3", "4", " ", "5 6 7 8 9 10 11", "12", "13 14", "15"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "texts.jsonl").write_text("".join(f'{{"text": "{text}"}}\n' for text in TEXTS), encoding="utf-8")
    return tmp_path / "texts.jsonl"


def encode(path: Path) -> list[EncodedBlock]:
    shop = workshop(cutoff_len=4)
    opened = open_texts(path, block_rows=3)
    recipe = Recipe(kind="text", reading=reading_of(opened), encoder=encoders.get("text")(shop.rules))
    return [encode_block(block, recipe) for block in opened.used_blocks()]


def store_of(path: Path, folder: Path) -> ShardedStore:
    tasks = tasks_of(open_texts(path, block_rows=3), folder)
    made = make_shards(workshop(cutoff_len=4), tasks, EngineRules(folder=folder))
    return ShardedStore([PlacedShard(made.shards[task.path], "texts", str(path)) for task in tasks])


def test_a_block_says_what_became_of_each_record(path: Path) -> None:
    first, second, third = encode(path)
    assert first.facts.groups == (
        RowGroup(outcome="dropped", reason="text_empty", count=1, rows=(2,)),
        RowGroup(outcome="kept", reason="", count=2),
    )
    assert second.facts.groups == (
        RowGroup(outcome="kept", reason="", count=2),
        RowGroup(outcome="split", reason="parts", count=1, rows=(3,)),
    )
    assert [encoded.facts.num_rows for encoded in (first, second, third)] == [3, 3, 1]
    assert second.rows.arrays["source_rows"].tolist() == [3, 3, 4, 5]
    prompts = second.rows.traits["prompt"].tolist()
    assert prompts[0] == prompts[1] and len(set(prompts)) == 3


def test_a_shard_gives_back_rows_traits_and_facts(path: Path, tmp_path: Path) -> None:
    for number, encoded in enumerate(encode(path)):
        place = tmp_path / f"{number}.json"
        shard = write_shard(place, encoded)
        assert find_shard(place) == shard and read_facts(place) == encoded.facts
        for is_mapped in (True, False):
            opened = open_rows(shard, "texts", path.as_posix(), is_mapped=is_mapped)
            assert len(opened) == len(encoded.rows) == shard.num_rows
            for index in range(len(opened)):
                assert_same(opened[index], encoded.rows[index])
            assert {name: values.tolist() for name, values in opened.traits.items()} == {
                name: values.tolist() for name, values in encoded.rows.traits.items()
            }


def test_many_shards_read_like_one_store(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharded, "_MAX_OPEN", 1)
    store = store_of(path, tmp_path / "shards")
    rows = [encoded.rows[index] for encoded in encode(path) for index in range(len(encoded.rows))]
    whole = build_store(rows)
    assert len(store) == len(whole) == 7
    for index in (6, 0, 3, 2, 6):
        assert store[index].input_ids.tolist() == whole[index].input_ids.tolist()
        assert store.source(index).row == store[index].source.row == whole[index].source.row
    assert store.lengths.tolist() == whole.lengths.tolist()
    assert store.num_supervised.tolist() == whole.num_supervised.tolist()
    assert len(store.traits["prompt"]) == 7 and set(store.traits) == set(encode(path)[0].rows.traits)
    with pytest.raises(KeyError):
        store.traits["unknown"]
    with pytest.raises(IndexError):
        store[7]
    sent = copy.copy(store)  # the way a process that loads batches gets it
    assert_same(sent[4], store[4])


def test_views_of_shards_give_their_tokens_flat(path: Path, tmp_path: Path) -> None:
    store = store_of(path, tmp_path / "shards")
    view = RowsView(store, np.array([5, 0, 6, 2]))
    found = {
        int(number): piece.input_ids[piece.offsets[place] : piece.offsets[place + 1]].tolist()
        for piece in pieces_of(view)
        for place, number in enumerate(piece.rows)
    }
    assert found == {place: view[place].input_ids.tolist() for place in range(4)}


def test_shards_are_read_one_at_a_time(path: Path, tmp_path: Path) -> None:
    store = store_of(path, tmp_path / "shards")
    assert [piece.rows.tolist() for piece in pieces_of(store)] == [[0, 1], [2, 3, 4, 5], [6]]


def test_the_fingerprint_is_of_the_content(path: Path, tmp_path: Path) -> None:
    print_of = store_of(path, tmp_path / "a").fingerprint
    moved = write_texts(tmp_path / "other", [], "texts.jsonl")
    moved.write_bytes(path.read_bytes())
    assert store_of(moved, tmp_path / "b").fingerprint == print_of
    moved.write_bytes(path.read_bytes().replace(b"15", b"16"))
    assert store_of(moved, tmp_path / "c").fingerprint != print_of
