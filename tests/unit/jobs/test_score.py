# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Which rows `tunesmith score` reads, what it sums up, and where it writes; scores are tested with models."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DatasetWriter
from tunesmith.config.load import load_config
from tunesmith.config.run import RunConfig
from tunesmith.core.errors import TunesmithError
from tunesmith.jobs.score import _output_path, _Summary, read_rows

RANKING = {"columns": {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected"}, "ranking": True}
FEEDBACK = {"columns": {"prompt": "instruction", "response": "answer", "kto_tag": "good"}}


def config_of(folder: Path, dataset: str, **keys: Any) -> RunConfig:
    values = {"model_name_or_path": str(folder), "dataset": dataset, "dataset_dir": str(folder), **keys}
    return load_config(values, command="score")


@pytest.mark.parametrize(
    ("kind", "row", "described"),
    [
        ("preference", {"instruction": "Why?", "chosen": "So.", "rejected": "No."}, RANKING),
        ("supervised", {"instruction": "Why?", "output": "So."}, {}),
        ("feedback", {"instruction": "Why?", "answer": "So.", "good": True}, FEEDBACK),
    ],
)
def test_the_kind_of_rows_is_found(
    kind: str, row: dict[str, Any], described: dict[str, Any], dataset_writer: DatasetWriter
) -> None:
    dataset_writer.write("made", [row] * 3, **described)
    found, examples = read_rows(config_of(dataset_writer.folder, "made"))
    assert (found, len(examples)) == (kind, 3)


def test_broken_rows_are_refused_with_their_numbers(dataset_writer: DatasetWriter) -> None:
    rows: list[dict[str, Any]] = [{"instruction": "Why?", "chosen": "So.", "rejected": "No."}] * 3
    dataset_writer.write("made", [*rows, {"instruction": "Why?", "chosen": "So.", "rejected": 7}], **RANKING)
    with pytest.raises(TunesmithError) as caught:
        read_rows(config_of(dataset_writer.folder, "made"))
    assert caught.value.problems[0].where.rows == (3,)


def test_texts_without_answers_are_refused(dataset_writer: DatasetWriter) -> None:
    dataset_writer.write("made", [{"text": "A text."}] * 3)
    with pytest.raises(TunesmithError):
        read_rows(config_of(dataset_writer.folder, "made"))


def test_equal_rewards_are_half_right_and_unscored_rows_are_counted() -> None:
    summary = _Summary()
    for scored in (
        {"chosen": 1.0, "rejected": [1.0, 0.0]},
        {"chosen": -1.0, "rejected": [2.0]},
        {"reason": "too_long"},
    ):
        summary.add(scored)
    assert summary.to_json() == {
        "rows": 3,
        "rows_unscored": 1,
        "answers": 5,
        "mean_score": pytest.approx(0.6),
        "pairs": 3,
        "accuracy": 0.5,
        "mean_margin": pytest.approx(-2 / 3),
    }


def test_single_answers_have_a_mean_and_no_pairs() -> None:
    summary = _Summary()
    summary.add({"score": 2.0})
    assert summary.to_json() == {"rows": 1, "rows_unscored": 0, "answers": 1, "mean_score": 2.0}
    assert _Summary().to_json()["mean_score"] is None


def test_the_file_is_named_or_lies_in_the_output_folder(tmp_path: Path) -> None:
    config = config_of(tmp_path, "made", output_dir=str(tmp_path / "run"))
    assert _output_path(config, None) == tmp_path / "run" / "scores.jsonl"
    assert _output_path(config, str(tmp_path / "own.jsonl")) == tmp_path / "own.jsonl"
    with pytest.raises(TunesmithError) as caught:
        _output_path(config_of(tmp_path, "made"), None)
    assert caught.value.problems[0].code == "config.key_missing" and "--output" in caught.value.problems[0].remedy
