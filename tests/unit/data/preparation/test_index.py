# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A folder of prepared data stands in for files that are not there, for the run it was prepared for and no other."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DatasetWriter
from tests.unit.data.conftest import Prepare
from tunesmith.core.errors import TunesmithError

ROWS = [{"instruction": f"Say {number}.", "output": f"{number}"} for number in range(30)]


@pytest.fixture
def keys(tmp_path: Path, dataset_writer: DatasetWriter) -> dict[str, Any]:
    dataset_writer.write("one", ROWS)
    dataset_writer.write("two", ROWS[:8], num_samples=12)
    return {
        "dataset": "one,two",
        "max_samples": 20,
        "val_size": 6,
        "tokenized_path": str(tmp_path / "mine"),
        "preprocessing_batch_size": 7,
    }


def remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def test_prepared_data_is_used_without_its_files(
    prepare_data: Prepare, keys: dict[str, Any], dataset_writer: DatasetWriter
) -> None:
    first = prepare_data(**keys)
    remove(dataset_writer.folder)
    again = prepare_data(**keys)
    assert first.train is not None and again.train is not None and again.made is not None
    assert again.train.fingerprint == first.train.fingerprint and again.made.num_made == 0
    assert again.evals["eval"].fingerprint == first.evals["eval"].fingerprint
    assert again.ledger.to_json() == first.ledger.to_json()
    other_split = prepare_data(**{**keys, "val_size": 3})
    assert len(other_split.evals["eval"]) == 3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"cutoff_len": 99}, "length limit"),
        ({"dataset": "one"}, "dataset was"),
        ({"max_samples": 5}, "max_samples was 20"),
    ],
)
def test_another_run_is_told_what_differs(
    prepare_data: Prepare, keys: dict[str, Any], dataset_writer: DatasetWriter, change: dict[str, Any], reason: str
) -> None:
    prepare_data(**keys)
    remove(dataset_writer.folder)
    with pytest.raises(TunesmithError, match=r"data\.tokenized_differs") as caught:
        prepare_data(**{**keys, **change})
    assert reason in caught.value.problems[0].message


def test_a_folder_with_missing_shards_is_refused(
    prepare_data: Prepare, keys: dict[str, Any], dataset_writer: DatasetWriter
) -> None:
    prepared = prepare_data(**keys)
    remove(dataset_writer.folder)
    assert prepared.folder is not None
    next(prepared.folder.rglob("*.npy")).unlink()
    with pytest.raises(TunesmithError, match="1 of its shards are missing"):
        prepare_data(**keys)


def test_without_prepared_data_the_missing_file_is_named(
    prepare_data: Prepare, keys: dict[str, Any], dataset_writer: DatasetWriter
) -> None:
    remove(dataset_writer.folder)
    with pytest.raises(TunesmithError, match=r"data\.info_missing"):
        prepare_data(**keys)


def test_changed_data_is_prepared_anew(
    prepare_data: Prepare, keys: dict[str, Any], dataset_writer: DatasetWriter
) -> None:
    prepare_data(**keys)
    dataset_writer.write("one", ROWS[5:])
    changed = prepare_data(**keys)
    assert changed.made is not None and changed.made.num_made > 0 and changed.made.num_reused > 0
