# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Histograms and packing over all rows: every row is counted once, and the last sequence is set aside."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.checks.stores import store_of
from tunesmith.core.types import IntArray
from tunesmith.data.ledger import Ledger
from tunesmith.jobs.inspection.counting import count_sources, ledger_lines, measure_lengths, measure_packing


def lengths_of(*values: int) -> IntArray:
    return np.array(values, dtype=np.int32)


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=50))
def test_every_row_stands_in_one_bin(values: list[int]) -> None:
    found = measure_lengths(lengths_of(*values))
    assert found is not None
    assert sum(found.counts) == len(values) and len(found.edges) == len(found.counts) + 1 <= 30
    assert found.edges[0] <= min(values) and max(values) < found.edges[-1]
    assert (found.shortest, found.longest) == (min(values), max(values))
    assert found.median in values and found.percentile_95 in values


def test_no_rows_have_no_lengths() -> None:
    assert measure_lengths(lengths_of()) is None and measure_packing(lengths_of(), 8) is None


def test_the_last_sequence_is_set_aside() -> None:
    found = measure_packing(lengths_of(6, 2, 5, 3, 1), 8)
    assert found is not None
    assert (found.sequences, found.fill, found.fill_with_last) == (3, 1.0, 17 / 24)


def test_one_sequence_is_as_full_as_it_is_and_longer_rows_are_full() -> None:
    alone = measure_packing(lengths_of(2), 8)
    longer = measure_packing(lengths_of(20, 2), 8)
    assert alone is not None and alone.fill == 0.25
    assert longer is not None and (longer.sequences, longer.fill) == (2, 1.0)


def test_sources_and_ledger_are_counted_by_data_set() -> None:
    store = store_of(["1 2 [3]", "4 [5 6]"])
    ledger = Ledger()
    ledger.enter("train", "rows", 3)
    ledger.record("train", store.source(0), "kept")
    ledger.record("train", store.source(1), "cut", "prompt_cut")
    ledger.record("train", store.source(1), "dropped", "too_long")
    (source,) = count_sources(ledger, {"train": store}, {"rows": "alpaca"})
    assert (source.rows_in, source.rows_kept, source.tokens, source.supervised_tokens) == (3, 2, 6, 3)
    assert (source.dataset, source.format) == ("rows", "alpaca")
    assert [(line.outcome, line.reason, line.rows) for line in ledger_lines(ledger)] == [
        ("cut", "prompt_cut", (1,)),
        ("dropped", "too_long", (1,)),
    ]
