# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Sources as arrays name the same rows as the rows themselves do, also of prepared, mixed and split sets."""

import json
from pathlib import Path

from tests.unit.data.conftest import Prepare
from tunesmith.data.source_numbers import source_numbers
from tunesmith.data.store import TokenRows


def named(rows: TokenRows) -> list[tuple[str, str, int]]:
    found = source_numbers(rows)
    return [
        (*found.names[file], record) for file, record in zip(found.files.tolist(), found.records.tolist(), strict=True)
    ]


def test_sources_of_prepared_rows(prepare_data: Prepare, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for name, count in (("one", 7), ("two", 5)):
        rows = [{"instruction": f"{name} {number}?", "output": f"{number}."} for number in range(count)]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    data = prepare_data(dataset="two.jsonl,one.jsonl", val_size=3, eval_strategy="epoch")
    assert data.train is not None
    for prepared in (data.train, *data.evals.values()):
        sources = [prepared.source(index) for index in range(len(prepared))]
        assert named(prepared) == [(one.dataset, one.file, one.row) for one in sources]
    assert len(set(source_numbers(data.train).sets.tolist())) == 2
