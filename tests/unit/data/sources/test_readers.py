# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Readers of all file types: records in order, and every fault of a file with its row, line and byte."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from tunesmith.core.errors import TunesmithError
from tunesmith.data.sources.base import Fault, Record, readers

ROWS: list[dict[str, Any]] = [{"a": "x", "b": 'ä, "quoted"\nline'}, {"a": "", "b": "2"}, {"a": "中", "b": "\u2028"}]


def read(path: Path) -> tuple[list[Mapping[str, Any]], list[Fault]]:
    entries = list(readers.get(path.suffix.removeprefix("."))(path))
    rows = [entry.row for entry in entries if entry.row is not None]
    assert rows == list(range(len(rows)))
    records = [entry.values for entry in entries if isinstance(entry, Record)]
    return records, [entry for entry in entries if isinstance(entry, Fault)]


def write_csv(path: Path, delimiter: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ["a", "b"], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(ROWS)


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    if path.suffix == ".json":
        path.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
    else:
        write_csv(path, "\t" if path.suffix == ".tsv" else ",")


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv", "tsv", "parquet"])
def test_rows_come_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.{suffix}"
    write(path, ROWS)
    assert read(path) == (ROWS, [])


def test_every_file_type_is_tested() -> None:
    assert readers.names() == ["arrow", "csv", "json", "jsonl", "parquet", "tsv", "txt"]


def test_text_lines_are_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b" one \r\n\n\t\ntwo\nthree")
    assert read(path)[0] == [{"text": " one "}, {"text": "two"}, {"text": "three"}]


@pytest.mark.parametrize("name", ["lines.json", "list.jsonl"])
def test_json_is_read_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    path, other = tmp_path / name, tmp_path / ("x.jsonl" if name == "lines.json" else "x.json")
    write(other, ROWS)
    path.write_bytes(b"\xef\xbb\xbf" + b"\n" + other.read_bytes())
    assert read(path) == (ROWS, [])


def test_all_bad_lines_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n\n{"a": \n[1]\n{"a": "\xff"}\n{"a": 2}\n')
    records, faults = read(path)
    assert records == [{"a": 1}, {"a": 2}]
    assert [(fault.code, fault.row, fault.line) for fault in faults] == [
        ("data.json_malformed", 1, 3),
        ("data.row_malformed", 2, 4),
        ("data.encoding_wrong", 3, 5),
    ]
    assert "byte 0xff at byte 7 of the line" in faults[2].message


def test_a_broken_list_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[\n{"a": 1},\n{"a": 2\n{"a": 3}]', encoding="utf-8")
    records, faults = read(path)
    assert records == [] and [(fault.code, fault.row, fault.line) for fault in faults] == [
        ("data.json_malformed", None, 4)
    ]


def test_a_file_that_is_one_object_is_named_so(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"version": 1, "data": [{"a": 1}]}, indent=1), encoding="utf-8")
    (fault,) = read(path)[1]
    assert (fault.code, fault.row) == ("data.row_malformed", None) and "'data' is a list" in fault.message


def test_elements_that_are_no_objects_are_faults(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"a": 1}, 5, "x"]', encoding="utf-8")
    records, faults = read(path)
    assert records == [{"a": 1}] and [fault.row for fault in faults] == [1, 2]


@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_wrong_encoding_names_byte_and_line(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b'[\n{"a": "\xe4"}]' if suffix == "json" else b"a\n\xe4\n")
    (fault,) = read(path)[1]
    assert (fault.code, fault.line) == ("data.encoding_wrong", 2) and "0xe4" in fault.message


def test_utf16_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("a\nb\n".encode("utf-16"))
    assert "UTF-16" in read(path)[1][0].message


def test_ragged_rows_and_twin_columns_are_faults(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b,a\n1,2,3\n1,2\n1,2,3,4\n", encoding="utf-8")
    records, faults = read(path)
    assert len(records) == 1
    assert [(fault.code, fault.row, fault.line) for fault in faults] == [
        ("data.table_malformed", None, 1),
        ("data.row_malformed", 1, 3),
        ("data.row_malformed", 2, 4),
    ]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_questions_without_a_header_lose_no_row(tmp_path: Path, mark: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(mark + b"first?,1,2,3,3,B\nsecond?,5,6,7,8,D\n")
    entries = list(readers.get("csv")(path))
    rows = [entry.values for entry in entries if isinstance(entry, Record)]
    assert [(row["question"], row["A"], row["answer"]) for row in rows] == [("first?", "1", "B"), ("second?", "5", "D")]
    path.write_bytes(mark + b"id,question,A,B,C,D\n0,first?,1,2,3,4\n")
    (entry,) = readers.get("csv")(path)
    assert isinstance(entry, Record) and entry.values["D"] == "4"


def test_an_open_quote_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,"2\n', encoding="utf-8")
    assert [fault.code for fault in read(path)[1]] == ["data.table_malformed"]


def test_long_cells_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a\n" + "x" * 300_000 + "\n", encoding="utf-8")
    assert len(read(path)[0][0]["a"]) == 300_000


def test_a_broken_parquet_file_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 nothing")
    assert [fault.code for fault in read(path)[1]] == ["data.table_malformed"]


def test_members_that_columnar_files_fill_in_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write(path, [{"m": [{"x": 1}]}, {"m": [{"y": 2}]}])
    assert read(path)[0] == [{"m": [{"x": 1}]}, {"m": [{"y": 2}]}]


def test_an_unknown_file_type_is_refused_with_those_known() -> None:
    with pytest.raises(TunesmithError) as caught:
        readers.get("jsom")
    assert caught.value.problems[0].code == "data.file_type_unknown"
    assert "'json'" in caught.value.problems[0].remedy
