# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Conversion from file to file: equal rows after a round trip, faults with their rows, targets whole or untouched."""

import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from tunesmith.core.errors import TunesmithError
from tunesmith.core.report import collected_warnings
from tunesmith.data.sources.base import Position, Record, Span, file_type, readers
from tunesmith.jobs.data_convert import ConvertRequest, run

ODD_ROWS = [
    {"text": 'line\nbreak, "quotes"\t\r and \U0001f600', "n": 1, "list": [1, None, "x"], "mixed": "5"},
    {"text": "", "n": 2.5, "list": [], "mixed": 5, "extra": None},
    {"text": "null", "n": -3, "list": [[{"a": None}]], "mixed": {"a": {}}, "extra": "\ufeff"},
]


def rows_of(path: Path) -> list[Any]:
    return [dict(one.values) if isinstance(one, Record) else one for one in readers.get(file_type(path))(path)]


def write_rows(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def convert(source: Path, target: Path, **more: Any) -> dict[str, Any]:
    return run(ConvertRequest(source=source, target=target, **more))


def there_and_back(source: Path, folder: Path, via: str, **more: Any) -> list[Any]:
    """Convert to another type and back, as the told way back says."""
    middle, last = (
        folder / f"middle.{via}",
        folder / f"last.{'jsonl' if file_type(source) == 'txt' else file_type(source)}",
    )
    told = convert(source, middle, overwrite=True, **more)
    cells = told["cells"] if via in ("csv", "tsv") else {}
    convert(middle, last, overwrite=True, cells=cells, **more)
    return rows_of(last)


@pytest.mark.parametrize("via", ["csv", "tsv", "json", "parquet", "arrow"])
def test_odd_rows_come_back_as_they_were(via: str, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "odd.jsonl", ODD_ROWS)
    assert there_and_back(source, tmp_path, via) == ODD_ROWS


@pytest.mark.parametrize("via", ["parquet", "arrow"])
def test_training_reads_the_rows_that_were_converted(via: str, tmp_path: Path) -> None:
    target = tmp_path / f"odd.{via}"
    convert(write_rows(tmp_path / "odd.jsonl", ODD_ROWS), target)
    reader = readers.get(via)
    spans = [span for span in reader.cut(target, Position(), max_rows=2) if isinstance(span, Span)]
    by_spans = [one for span in spans for one in reader.read(target, span)]
    assert len(spans) == 2 and [one.values for one in by_spans if isinstance(one, Record)] == ODD_ROWS
    assert rows_of(target) == ODD_ROWS


def test_a_cell_that_is_no_json_is_a_fault_of_its_row(tmp_path: Path) -> None:
    table = pyarrow.table({"a": ["1", "{"]}).replace_schema_metadata({"tunesmith.cells": '{"a": "json"}'})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    first, second = rows_of(tmp_path / "a.parquet")
    assert first == {"a": 1} and (second.code, second.row) == ("data.json_malformed", 1)


@pytest.mark.parametrize("via", ["csv", "parquet"])
def test_all_assets_come_back_as_they_were(via: str, assets: Path, tmp_path: Path) -> None:
    folder = assets / "datasets"
    files = [path for path in sorted(folder.rglob("*")) if file_type(path) in ("csv", "json", "jsonl", "txt")]
    assert len(files) > 80
    for path in files:
        assert there_and_back(path, tmp_path, via, media_dir=folder / "multimodal") == rows_of(path), path.name


def test_a_table_keeps_its_types_in_another_table_and_tells_what_text_loses(tmp_path: Path) -> None:
    days = pyarrow.array([datetime.date(2026, 1, 2)])
    small = pyarrow.array([7], type=pyarrow.int8())
    table = pyarrow.table({"day": days, "small": small, "price": pyarrow.array([Decimal("1.50")])})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    convert(tmp_path / "a.parquet", tmp_path / "b.parquet", rename={"small": "tiny"})
    assert pyarrow.parquet.read_schema(tmp_path / "b.parquet").field("tiny").type == pyarrow.int8()
    assert not collected_warnings()
    convert(tmp_path / "a.parquet", tmp_path / "c.jsonl")
    assert rows_of(tmp_path / "c.jsonl") == [{"day": "2026-01-02", "small": 7, "price": "1.50"}]
    assert [warning.code for warning in collected_warnings()] == ["data.values_as_text"]
    assert "'day', 'price'" in collected_warnings()[0].message


def test_columns_are_chosen_and_renamed_in_the_order_given(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "a.jsonl", [{"q": "1", "a": "2", "id": 3}, {"q": "4", "a": "5"}])
    convert(source, tmp_path / "b.csv", columns=("a", "q"), rename={"q": "instruction", "a": "output"})
    assert (tmp_path / "b.csv").read_bytes() == b"output,instruction\r\n2,1\r\n5,4\r\n"


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfq,a\r\n1,2\r\n")
    convert(tmp_path / "a.csv", tmp_path / "b.json")
    assert json.loads((tmp_path / "b.json").read_bytes()) == [{"q": "1", "a": "2"}]


def refused(source: Path, target: Path, **more: Any) -> TunesmithError:
    with pytest.raises(TunesmithError) as caught:
        convert(source, target, **more)
    return caught.value


def test_bad_rows_are_all_named_and_nothing_is_written(tmp_path: Path) -> None:
    lines = ['{"a": 1}', "{", '{"a": 2}', "[1]", "{", ""]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    error = refused(tmp_path / "a.jsonl", tmp_path / "b.csv")
    found = {problem.code: problem.where.rows for problem in error.problems}
    assert found == {"data.json_malformed": (1, 4), "data.row_malformed": (3,)}
    assert error.result["rows"] == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl"]


@pytest.mark.parametrize(
    ("rows", "target", "more", "code"),
    [
        ([], "b.csv", {}, "data.set_empty"),
        ([{"a": 1}], "a.jsonl", {}, "data.target_exists"),
        ([{"a": 1}], "b.xml", {}, "data.file_type_unknown"),
        ([{"a": 1}], "b.csv", {"columns": ("b",)}, "data.column_missing"),
        ([{"a": 1}], "b.csv", {"cells": {"b": "json"}}, "data.column_missing"),
        ([{"a": 1, "b": 2}], "b.csv", {"rename": {"a": "b"}}, "data.column_repeated"),
        ([{"a": "x"}], "b.json", {"cells": {"a": "json"}}, "data.json_malformed"),
        ([{"a": "x"}], "b.json", {"cells": {"a": "jsn"}}, "cli.word_unknown"),
        ([{"a": "\ud800"}], "b.csv", {}, "data.value_unstorable"),
        ([{"a": "x"}, {"a": "\ud800"}], "b.parquet", {}, "data.value_unstorable"),
        ([{"a": float("nan")}], "b.json", {}, "data.value_unstorable"),
    ],
)
def test_what_cannot_be_converted_is_refused(
    rows: list[Any], target: str, more: dict[str, Any], code: str, tmp_path: Path
) -> None:
    source = write_rows(tmp_path / "a.jsonl", rows)
    error = refused(source, tmp_path / target, **more)
    assert [problem.code for problem in error.problems] == [code]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl"]


def test_the_row_that_a_table_cannot_hold_is_named(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "a.jsonl", [{"a": "x"}] * 7 + [{"a": "\ud800"}])
    assert refused(source, tmp_path / "b.parquet").problems[0].where.rows == (7,)
    convert(source, tmp_path / "b.json")
    assert rows_of(tmp_path / "b.json")[7] == {"a": "\ud800"}


def test_an_existing_target_is_replaced_only_when_asked(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "a.jsonl", [{"a": "new"}])
    (tmp_path / "b.csv").write_text("old", encoding="utf-8")
    refused(source, tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_text(encoding="utf-8") == "old"
    convert(source, tmp_path / "b.csv", overwrite=True)
    assert rows_of(tmp_path / "b.csv") == [{"a": "new"}]


def test_missing_media_are_refused_with_their_rows_or_warned_of(tmp_path: Path) -> None:
    (tmp_path / "here.jpg").write_bytes(b"")
    rows = [{"image": "here.jpg"}, {"image": "gone.jpg"}, {"image": "https://x.test/y.jpg"}, {"image": "also.jpg"}]
    source = write_rows(tmp_path / "a.jsonl", rows)
    error = refused(source, tmp_path / "b.json")
    assert [(problem.code, problem.where.rows) for problem in error.problems] == [("data.media_missing", (1, 3))]
    assert not (tmp_path / "b.json").exists()
    result = convert(source, tmp_path / "b.json", allow_missing=True)
    assert (result["files_checked"], result["files_missing"]) == (3, 2)
    assert result["missing"] == [{"row": 1, "paths": ["gone.jpg"]}, {"row": 3, "paths": ["also.jpg"]}]
    assert [(warning.code, warning.where.rows) for warning in collected_warnings()] == [("data.media_missing", (1, 3))]
    (tmp_path / "media").mkdir()
    for name in ("here.jpg", "gone.jpg", "also.jpg"):
        (tmp_path / "media" / name).write_bytes(b"")
    assert convert(source, tmp_path / "c.json", media_dir=tmp_path / "media")["files_missing"] == 0
