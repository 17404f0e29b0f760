# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""tunesmith prepare tokenises without training, counts what it did, and finds it again."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DatasetWriter
from tunesmith.checks.preflight import run_preflight
from tunesmith.config.load import load_config
from tunesmith.core.errors import TunesmithError
from tunesmith.jobs.prepare import run


@pytest.fixture
def keys(tiny_llama_folder: Path, tiny_dataset: Path, tmp_path: Path) -> dict[str, Any]:
    return {
        "model_name_or_path": str(tiny_llama_folder),
        "dataset_dir": str(tiny_dataset),
        "dataset": "tiny",
        "tokenized_path": str(tmp_path / "tokens"),
        "preprocessing_batch_size": 10,
        "val_size": 4,
    }


def test_rows_are_prepared_once(keys: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = run(load_config(keys, command="prepare"))
    assert (first["rows_in"], first["rows_kept"], first["shards_made"], first["shards_reused"]) == (24, 24, 3, 0)
    assert first["rows_encoded"] == 24 and first["rows_per_second"] > 0
    assert first["folder"] == str(tmp_path / "tokens")
    assert {name: part["rows"] for name, part in first["parts"].items()} == {"train": 20, "eval eval": 4}
    assert first["tokens"] == sum(part["tokens"] for part in first["parts"].values()) > first["supervised_tokens"] > 0
    assert "train: tiny: 20 rows read, 20 used" in capsys.readouterr().err
    again = run(load_config(keys, command="prepare"))
    assert (again["shards_made"], again["shards_reused"], again["rows_encoded"]) == (0, 3, 0)
    same = ("tokens", "supervised_tokens", "parts", "ledger")
    assert [again[name] for name in same] == [first[name] for name in same]
    assert "Everything was prepared before" in capsys.readouterr().err


def test_training_finds_what_was_prepared(keys: dict[str, Any], tmp_path: Path) -> None:
    run(load_config(keys, command="prepare"))
    config = load_config({**keys, "output_dir": str(tmp_path / "out")}, command="train")
    data = run_preflight(config).parts.data
    assert data is not None and data.made is not None
    assert (data.made.num_made, data.made.num_reused) == (0, 3)


def test_a_stream_is_not_prepared(keys: dict[str, Any]) -> None:
    with pytest.raises(TunesmithError, match="streaming"):
        run(load_config({**keys, "streaming": True, "max_steps": 5}, command="prepare"))


def test_rows_that_cannot_be_prepared_are_refused(keys: dict[str, Any], dataset_writer: DatasetWriter) -> None:
    dataset_writer.write("broken", [{"instruction": "a"}, {"instruction": "b", "output": "c"}])
    with pytest.raises(TunesmithError, match=r"data\.column_missing"):
        run(load_config({**keys, "dataset": "broken", "val_size": 0}, command="prepare"))
