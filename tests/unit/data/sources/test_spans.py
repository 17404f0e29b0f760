# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Files cut anywhere give the records of the whole file, from any place on, with their numbers and lines."""

import csv
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunesmith.core.errors import TunesmithError
from tunesmith.data.sources import json_list, lines, table_text
from tunesmith.data.sources.base import Fault, Position, Record, Span, readers

Entry = Record | Fault
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=12)
ROWS = st.lists(st.fixed_dictionaries({"a": TEXTS, "b": TEXTS}), min_size=1, max_size=12)


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    blanks = ["\n" if number % 3 == 2 else "" for number in range(len(rows))]
    pairs = zip(rows, blanks, strict=True)
    path.write_text("".join(f"{json.dumps(row)}\n{blank}" for row, blank in pairs), encoding="utf-8")


def write_list(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("\ufeff " + json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.DictWriter(stream, ["a", "b"])
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=5)


def write_arrow(path: Path, rows: list[dict[str, Any]]) -> None:
    table = pyarrow.Table.from_pylist(rows)
    with pyarrow.OSFile(str(path), "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=4)


def write_arrow_file(path: Path, rows: list[dict[str, Any]]) -> None:
    table = pyarrow.Table.from_pylist(rows)
    with pyarrow.OSFile(str(path), "wb") as sink, pyarrow.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=4)


WRITERS: list[tuple[str, Callable[[Path, list[dict[str, Any]]], None]]] = [
    ("jsonl", write_lines),
    ("json", write_list),
    ("csv", write_table),
    ("parquet", write_parquet),
    ("arrow", write_arrow),
    ("arrow", write_arrow_file),
]


def spans_of(path: Path, *, max_rows: int, start: Position | None = None) -> list[Span]:
    found = list(readers.get(path.suffix[1:]).cut(path, start or Position(), max_rows=max_rows))
    assert all(isinstance(span, Span) for span in found)
    return [span for span in found if isinstance(span, Span)]


def entries_of(path: Path, spans: list[Span]) -> list[Entry]:
    return [entry for span in spans for entry in readers.get(path.suffix[1:]).read(path, span)]


@pytest.mark.parametrize(("suffix", "write"), WRITERS, ids=[writer.__name__ for _, writer in WRITERS])
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, max_rows=st.integers(1, 7))
def test_spans_hold_the_records_of_the_file(
    tmp_path: Path, suffix: str, write: Callable[[Path, list[dict[str, Any]]], None], rows: Any, max_rows: int
) -> None:
    path = tmp_path / f"rows.{suffix}"
    write(path, rows)
    spans = spans_of(path, max_rows=max_rows)
    expected = [Record(row=number, values=row) for number, row in enumerate(rows)]
    assert entries_of(path, spans) == expected == list(readers.get(suffix)(path))
    assert [span.num_rows for span in spans[:-1]] == [max_rows] * (len(spans) - 1)
    assert all(first.end == second.start for first, second in pairwise(spans))
    for number, span in enumerate(spans):  # Cutting from the end of any span gives the spans behind it.
        assert spans_of(path, max_rows=max_rows, start=span.end) == spans[number + 1 :]
    assert entries_of(path, spans[::-1]) == [entry for span in spans[::-1] for entry in entries_of(path, [span])]


@settings(max_examples=25, deadline=None)
@given(rows=ROWS, chunk=st.integers(1, 9), indent=st.sampled_from([None, 1]))
def test_a_list_is_read_through_a_small_window(
    tmp_path_factory: pytest.TempPathFactory, rows: Any, chunk: int, indent: int | None
) -> None:
    path = tmp_path_factory.mktemp("window") / "rows.json"
    path.write_text(json.dumps([*rows, 12.5, True, None], ensure_ascii=False, indent=indent), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_list, "_CHUNK_BYTES", chunk)
        entries = entries_of(path, spans_of(path, max_rows=3))
    assert [entry.values for entry in entries if isinstance(entry, Record)] == rows
    assert [entry.row for entry in entries if isinstance(entry, Fault)] == [len(rows) + more for more in range(3)]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('[\n{"a": 1}\n{"a": 2}]', 3, "Expecting ',' delimiter at column 1"),
        ('[{"a": 1},\n {"a": tru}]', 2, "Expecting value at column 8"),
        ('[{"a": 1}]\n\n[2]', 3, "Extra data at column 1"),
        ('[{"a": 1},\n {"a": "2}]', 2, "Unterminated string"),
        ("[", 1, "Expecting value at column 2"),
        ('[{"a": 1},\n]', 2, "Expecting value at column 1"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 4, 1000])
def test_a_malformed_list_names_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, line: int, message: str, chunk: int
) -> None:
    monkeypatch.setattr(json_list, "_CHUNK_BYTES", chunk)
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    (fault,) = [entry for entry in readers.get("json")(path) if isinstance(entry, Fault)]
    assert (fault.code, fault.row, fault.line) == ("data.json_malformed", None, line)
    assert message in fault.message


@pytest.mark.parametrize("module", [lines, json_list, table_text])
def test_long_records_end_a_span_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    suffix, write = {lines: WRITERS[0], json_list: WRITERS[1], table_text: WRITERS[2]}[module]
    monkeypatch.setattr(module, "SPAN_BYTES", 100)
    path = tmp_path / f"rows.{suffix}"
    rows = [{"a": "x" * 40, "b": str(number)} for number in range(10)]
    write(path, rows)
    spans = spans_of(path, max_rows=1000)
    assert 3 <= len(spans) <= 6 and [entry.row for entry in entries_of(path, spans)] == list(range(10))


@pytest.mark.parametrize(("suffix", "write"), [WRITERS[0], WRITERS[2]], ids=["lines", "table"])
def test_lines_of_faults_are_those_of_the_file(
    tmp_path: Path, suffix: str, write: Callable[[Path, list[dict[str, Any]]], None]
) -> None:
    path = tmp_path / f"rows.{suffix}"
    write(path, [{"a": "1", "b": "x\ny"}] * 6)
    with path.open("a", encoding="utf-8") as stream:
        stream.write('{"a"\n' if suffix == "jsonl" else "1,2,3\n")
    whole = [entry for entry in readers.get(suffix)(path) if isinstance(entry, Fault)]
    assert [(fault.row, fault.line) for fault in whole] == [(6, 9 if suffix == "jsonl" else 14)]
    for max_rows in (1, 2, 5):
        assert [e for e in entries_of(path, spans_of(path, max_rows=max_rows)) if isinstance(e, Fault)] == whole


@pytest.mark.parametrize(("suffix", "write"), WRITERS[:3], ids=[writer.__name__ for _, writer in WRITERS[:3]])
def test_a_file_that_changes_meanwhile_is_refused(
    tmp_path: Path, suffix: str, write: Callable[[Path, list[dict[str, Any]]], None]
) -> None:
    path = tmp_path / f"rows.{suffix}"
    write(path, [{"a": "1", "b": "2"}] * 4)
    spans = spans_of(path, max_rows=2)
    path.write_bytes(path.read_bytes().replace(b"1", b"3"))
    with pytest.raises(TunesmithError, match=r"data\.file_changed"):
        entries_of(path, spans)
