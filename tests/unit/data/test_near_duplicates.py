# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Near-duplicates: found in any script, not by what all rows share, in time and memory that scale."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.unit.checks.judged import answered, numbered, plain, store_of_examples
from tunesmith.core.types import Example
from tunesmith.data import kept_clusters as kept_clusters_module
from tunesmith.data.containment import find_contained
from tunesmith.data.grams import Membership, common_of, grams_of, iterate_grams
from tunesmith.data.kept_clusters import kept_clusters
from tunesmith.data.near_duplicates import near_duplicate_clusters, row_signatures
from tunesmith.data.store import TokenStore

FOX = "The quick brown fox jumps over the lazy dog while the old owl watches from the tall tree by the river."
MOON = "Nobody knows how the small boat came to the island, but the keeper of the lighthouse wrote it all down."
SEA = "月亮绕着地球转，地球绕着太阳转，这是我们从小在学校里学到的知识，也是天文学最基本的事实之一。"
HILL = "山上的老人每天早晨都会去河边打水，然后慢慢地走回家，给院子里的花和菜浇水，几十年如一日。"


def clusters(rows: list[Example], threshold: float = 0.8) -> list[int]:
    found: list[int] = near_duplicate_clusters(row_signatures(store_of_examples(numbered(rows))), threshold).tolist()
    return found


def clusters_of(texts: list[str], threshold: float = 0.8) -> list[int]:
    return clusters([plain(text) for text in texts], threshold)


def letters(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(97, 123, size=count)


def random_text(seed: int, count: int = 120) -> str:
    return "".join(map(chr, letters(seed, count)))


@pytest.mark.parametrize(("first", "second"), [(FOX, MOON), (SEA, HILL)])
def test_rows_that_differ_in_a_word_are_one_cluster(first: str, second: str) -> None:
    changed = [first[:40] + "x" + first[41:], second[:-2] + "!", second.replace(second[10], "", 1)]
    assert clusters_of([first, second, *changed]) == [0, 1, 0, 1, 1]


def test_similarity_below_the_threshold_is_none() -> None:
    half = random_text(1, 60) + random_text(2, 60)
    assert clusters_of([random_text(1, 60) + random_text(3, 60), half]) == [0, 1]
    assert clusters_of([FOX, FOX[:-2] + "!"], threshold=1.0) == [0, 1]


def test_a_shared_task_makes_no_duplicates() -> None:
    task = "Read the following headline with care and say of which of the ten kinds of news it is. Headline: "
    rows = [answered(task + random_text(number, 20), "sports") for number in range(40)]
    assert clusters([*rows, rows[7]]) == [*range(40), 7]


def test_answers_count_however_common_they_are() -> None:
    rows = [answered(random_text(number), random_text(number + 500)) for number in range(40)]
    copies = [answered(FOX + str(number), f"{MOON} {number} {SEA}") for number in range(60)]
    assert clusters([*rows, *copies]) == [*range(40), *[40] * 60]


def test_rows_of_nothing_but_common_text_are_equal_to_each_other() -> None:
    rows = [replace(plain(random_text(number)), kind="prompt") for number in range(10)]
    assert clusters([*rows, *[replace(plain(FOX), kind="prompt")] * 12]) == [*range(10), *[10] * 12]


def test_a_template_does_not_count_where_all_is_trained() -> None:
    header = random_text(100, 200)
    assert clusters_of([header + random_text(number, 30) for number in range(40)]) == list(range(40))


def test_rows_too_short_to_compare_stay_apart() -> None:
    assert clusters_of(["ab", "ab", "", "", FOX]) == [0, 1, 2, 3, 4]


def test_sets_have_their_own_common_text() -> None:
    tasks = [random_text(100, 200), random_text(101, 200)]
    rows = [answered(tasks[number % 12 == 0] + random_text(number, 30), "yes") for number in range(132)]
    store = store_of_examples(numbered(rows))
    assert near_duplicate_clusters(row_signatures(store), 0.8).tolist() != list(range(132))
    sets = (np.arange(132) % 12 == 0).astype(np.int64)
    assert near_duplicate_clusters(row_signatures(store, sets), 0.8).tolist() == list(range(132))


def test_signatures_estimate_the_similarity_of_sets() -> None:
    base = letters(5, 400)
    rows = [base] + [np.concatenate([base[:keep], letters(keep, 400 - keep)]) for keep in (380, 340, 200)]
    store = store_of_examples(numbered([plain("".join(map(chr, row))) for row in rows]))
    slots = row_signatures(store).view(np.uint16)
    for row in (1, 2, 3):
        first, second = set(grams_of(rows[0]).tolist()), set(grams_of(rows[row]).tolist())
        truth = len(first & second) / len(first | second)
        assert abs((slots[0] == slots[row]).mean() - truth) < 0.2


def test_grams_stay_within_their_rows() -> None:
    store = store_of_examples(numbered([plain(text) for text in ("abcd", "", "ab", "xyzw", "abc")]))
    (grams,) = iterate_grams(store)
    texts = ["abcd", "", "ab", "xyzw", "abc"]
    expected = [grams_of(np.array([ord(letter) for letter in text])).tolist() for text in texts]
    found = [grams.hashes[start:end].tolist() for start, end in zip(grams.offsets, grams.offsets[1:], strict=False)]
    assert found == expected and [len(one) for one in found] == [2, 0, 0, 2, 1]


def test_clusters_are_kept_and_made_again_when_anything_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = np.full(2500, 30)
    ids = np.random.default_rng(0).integers(0, 30_000, size=int(lengths.sum())).astype(np.int32)
    ids[60:90] = ids[:30]
    store = flat_store(ids, lengths)
    first = kept_clusters(store, 0.8, folder=tmp_path)
    (kept,) = tmp_path.glob("??/*.npy")
    with monkeypatch.context() as patched:
        patched.setattr(kept_clusters_module, "row_signatures", lambda *_: pytest.fail("not read"))
        assert kept_clusters(store, 0.8, folder=tmp_path).tolist() == first.tolist()
    kept.write_bytes(b"damaged")
    assert kept_clusters(store, 0.8, folder=tmp_path).tolist() == first.tolist() and first[2] == 0
    kept_clusters(store, 0.9, folder=tmp_path)
    assert len(list(tmp_path.glob("??/*.npy"))) == 2


def test_common_and_membership() -> None:
    texts = [np.array([1, 2 + number % 2, 9 + number, 9 + number], dtype=np.uint64) for number in range(18)]
    assert common_of(texts).tolist() == [1]
    assert common_of(texts[:9]).tolist() == common_of([]).tolist() == []
    assert Membership(texts[0]).of(np.array([9, 3, 1], dtype=np.uint64)).tolist() == [True, False, True]


def test_texts_are_found_inside_longer_rows() -> None:
    questions = [FOX, MOON, SEA]
    grams = [grams_of(np.array([ord(letter) for letter in text])) for text in questions]
    rows = [
        random_text(1, 600) + FOX + random_text(2, 600),
        random_text(3, 300) + MOON[:50] + random_text(4, 300),  # Half of it.
        random_text(5, 100) + SEA.replace("知识", "道理") + random_text(6, 100),
        "".join(FOX[start : start + 5] + random_text(start, 80) for start in range(0, len(FOX), 3)),  # Scattered.
    ]
    store = store_of_examples(numbered([plain(text) for text in rows]))
    hits = [(hit.row, hit.text) for hit in find_contained(store, grams, 0.8)]
    assert hits == [(0, 0), (2, 2)]
    assert list(find_contained(store, [], 0.8)) == []


@pytest.mark.parametrize("num_equal", [0, 20_000])
def test_time_grows_with_the_rows_also_when_all_are_equal(num_equal: int) -> None:
    generator = np.random.default_rng(0)
    lengths = generator.integers(20, 120, size=20_000)
    ids = generator.integers(0, 30_000, size=int(lengths.sum())).astype(np.int32)
    if num_equal:
        lengths[:] = 60
        ids = np.tile(ids[:60], len(lengths))
    store = flat_store(ids, lengths)
    start = time.perf_counter()
    clusters = near_duplicate_clusters(row_signatures(store), 0.8)
    assert time.perf_counter() - start < 6  # A tenth of the rows, a tenth of the time that 200,000 may take.
    assert len(np.unique(clusters)) == (1 if num_equal else len(lengths))


def flat_store(ids: np.ndarray, lengths: np.ndarray) -> TokenStore:
    count = len(lengths)
    arrays = {
        "input_ids": ids,
        "weights": np.ones(len(ids), dtype=np.float32),
        "token_offsets": np.concatenate([[0], np.cumsum(lengths)]),
        "segment_lengths": lengths.astype(np.int32),
        "segment_parents": np.full(count, -1, dtype=np.int32),
        "segment_names": np.zeros(count, dtype=np.int32),
        "segment_offsets": np.arange(count + 1),
        "source_files": np.zeros(count, dtype=np.int32),
        "source_rows": np.arange(count),
        "labels": np.full(count, np.nan, dtype=np.float32),
        "channels": np.full(count, -1, dtype=np.int32),
    }
    return TokenStore(arrays=arrays, names=("text",), files=(("rows", "rows.jsonl"),))
