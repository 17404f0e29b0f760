# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A stream goes on from any window exactly as if it had never stopped, whatever files and mixture it reads."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunesmith.core.errors import TunesmithError
from tunesmith.data.mixing import MixRules
from tunesmith.data.sets import DataSet
from tunesmith.data.stream_windows import Window, WindowRules, WindowStart, read_windows


def make_set(folder: Path, name: str, sizes: list[int], kind: str = "jsonl") -> DataSet:
    """Write files of numbered records; long ones, so that a file has several blocks."""
    files = []
    for number, size in enumerate(sizes):
        rows = [{"n": f"{name}{number}.{row}"} for row in range(size)]
        path = folder / f"{name}-{number}.{kind}"
        if kind == "parquet":
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=7)
        elif kind == "json":
            path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        files.append(path)
    return DataSet(name=name, files=tuple(files))


def names(window: Window) -> list[str]:
    values = [entry.content for entry in window.entries]
    return [value.values["n"] for value in values]  # type: ignore[union-attr]


def through_json(start: WindowStart) -> WindowStart:
    return WindowStart.from_json(json.loads(json.dumps(start.to_json())))


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet"])
def test_an_epoch_has_every_record_once_and_the_next_another_order(tmp_path: Path, kind: str) -> None:
    data_set = make_set(tmp_path, "a", [1500, 40], kind)
    windows = read_windows([data_set], WindowRules(size=600, mix=MixRules(seed=1)), WindowStart.first(1))
    epochs: list[list[str]] = [[], []]
    for window in islice(windows, 6):
        assert len(window.entries) == (600 if window.start.number < 2 else 340)
        epochs[window.start.epoch].extend(names(window))
    expected = [f"a0.{row}" for row in range(1500)] + [f"a1.{row}" for row in range(40)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(expected)
    assert epochs[0] != epochs[1]
    assert epochs[0] != expected
    in_order = read_windows([data_set], WindowRules(size=600, shuffle=False), WindowStart.first(1))
    assert [name for window in islice(in_order, 3) for name in names(window)] == expected


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(1, 40),
    strategy=st.sampled_from(["concat", "interleave_under", "interleave_over", "interleave_once"]),
    weights=st.sampled_from([None, (0.7, 0.2, 0.1)]),
    shuffle=st.booleans(),
    stop=st.integers(0, 12),
)
def test_any_window_gives_the_same_rest(tmp_path: Path, size: int, stop: int, **rules: Any) -> None:
    sets = [
        make_set(tmp_path, "a", [23, 1]),
        make_set(tmp_path, "b", [9], "json"),
        make_set(tmp_path, "c", [30], "parquet"),
    ]
    mix = MixRules(strategy=rules["strategy"], weights=rules["weights"], seed=3)
    window_rules = WindowRules(size=size, mix=mix, shuffle=rules["shuffle"])
    straight = list(islice(read_windows(sets, window_rules, WindowStart.first(3)), stop + 4))
    resumed = islice(read_windows(sets, window_rules, through_json(straight[stop].start)), 4)
    for one, other in zip(straight[stop:], resumed, strict=True):
        assert names(one) == names(other)
        assert one.next_start == other.next_start


def test_a_window_that_ends_inside_a_block_goes_on_there(tmp_path: Path) -> None:
    data_set = make_set(tmp_path, "a", [5000])
    rules = WindowRules(size=700, shuffle=False)
    straight = list(islice(read_windows([data_set], rules, WindowStart.first(1)), 7))
    start = through_json(straight[5].start)
    assert start.sets[0].place.position.row > 2000, "by seeking, not by counting from the start"
    (window,) = islice(read_windows([data_set], rules, start), 1)
    assert names(window) == [f"a0.{row}" for row in range(3500, 4200)]


def test_a_set_without_rows_and_a_file_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TunesmithError, match="has no rows"):
        next(read_windows([make_set(tmp_path, "a", [0])], WindowRules(size=5), WindowStart.first(1)))
    broken = tmp_path / "b.parquet"
    broken.write_bytes(b"no table")
    with pytest.raises(TunesmithError, match=r"b\.parquet: The file cannot be read"):
        next(read_windows([DataSet(name="b", files=(broken,))], WindowRules(size=5), WindowStart.first(1)))
