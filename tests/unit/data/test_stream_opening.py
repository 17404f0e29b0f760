# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A stream is judged at its start; its evaluation rows are a count of rows that training never reads."""

from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest

from tests.conftest import DatasetWriter
from tests.unit.data.conftest import Prepare
from tunesmith.core.errors import TunesmithError
from tunesmith.core.report import collected_warnings
from tunesmith.data.pipeline import VALIDATION, PreparedData
from tunesmith.data.stream import TrainStream

STREAM = {"streaming": True, "max_steps": 5, "buffer_size": 64}


def rows(count: int, **changes: Callable[[int], Any]) -> list[dict[str, Any]]:
    columns = {"instruction": lambda n: f"Question {n}?", "output": lambda n: f"Answer {n}.", **changes}
    return [{name: make(n) for name, make in columns.items()} for n in range(count)]


def records(stream: TrainStream, num_parts: int) -> list[tuple[str, int]]:
    """Read some parts of a stream; name the record of each row."""
    stream.looks_ahead = False
    parts = islice(stream.begin(), num_parts)
    found = []
    for part in parts:
        stream.account(part)
        found += [(source.dataset, source.row) for source in map(part.rows.source, range(len(part.rows)))]
    return found


def sources(prepared: PreparedData, name: str) -> set[int]:
    held = prepared.evals[name]
    return {held.source(row).row for row in range(len(held))}


def test_evaluation_rows_are_a_count_and_never_trained(dataset_writer: DatasetWriter, prepare_data: Prepare) -> None:
    shared = rows(200, instruction=lambda n: f"Question {n // 2}?", output=lambda n: f"A long answer {n % 50} " * 4)
    dataset_writer.write("a", shared)
    prepared = prepare_data(dataset="a", val_size=5, eval_strategy="no", do_eval=True, **STREAM)
    held = sources(prepared, VALIDATION)
    assert len(held) == 5
    assert prepared.stream is not None
    trained = {row for _, row in records(prepared.stream, 12)}
    assert not {row // 2 for row in held} & {row // 2 for row in trained}, "prompts"
    assert not {row % 50 for row in held} & {row % 50 for row in trained}, "long answers"
    ledger = prepared.stream.ledger.to_json()
    assert ledger["rows_in"] >= 200
    assert {one["reason"] for one in ledger["reasons"]} == {"held_out"}
    assert sources(prepare_data(dataset="a", val_size=5, do_eval=True, **STREAM), VALIDATION) == held
    assert sources(prepare_data(dataset="a", val_size=5, do_eval=True, seed=7, **STREAM), VALIDATION) != held


def test_a_stream_is_judged_at_its_start(dataset_writer: DatasetWriter, prepare_data: Prepare) -> None:
    dataset_writer.write("broken", rows(30, output=lambda n: None if n == 20 else f"Answer {n}."))
    with pytest.raises(TunesmithError) as caught:
        prepare_data(dataset="broken", **STREAM)
    assert caught.value.problems[0].where.rows == (20,)
    prepared = prepare_data(dataset="broken", max_row_loss=0.1, **STREAM)
    assert prepared.train is not None and len(prepared.train) == 29
    assert prepared.ledger.num_lost == 1
    assert {"prompt", "answer"} <= set(prepared.train.traits)


def test_evaluation_sets_are_prepared_whole(dataset_writer: DatasetWriter, prepare_data: Prepare) -> None:
    dataset_writer.write("a", rows(20))
    dataset_writer.write("b", rows(7, instruction=lambda n: f"Other {n}?"))
    prepared = prepare_data(dataset="a", eval_dataset="b", **STREAM)
    assert prepared.train is not None and (len(prepared.train), len(prepared.evals["b"])) == (20, 7)
    counted = {(one["split"], one["dataset"]): one["rows_kept"] for one in prepared.ledger.to_json()["datasets"]}
    assert counted == {("train", "a"): 20, ("eval", "b"): 7}


def test_texts_stream_too(dataset_writer: DatasetWriter, prepare_data: Prepare) -> None:
    dataset_writer.write("texts", [{"text": f"Text number {n}. " * 5} for n in range(40)])
    prepared = prepare_data(dataset="texts", stage="pt", cutoff_len=16, length_policy="split", **STREAM)
    assert prepared.stream is not None
    assert len(set(records(prepared.stream, 1))) == 40


def test_sets_that_never_meet_and_samples_are_told(dataset_writer: DatasetWriter, prepare_data: Prepare) -> None:
    dataset_writer.write("a", rows(20))
    dataset_writer.write("b", rows(20), num_samples=5)
    prepare_data(dataset="a,b", **STREAM)
    assert {problem.code for problem in collected_warnings()} >= {"data.stream_unmixed", "data.stream_unsampled"}
    dataset_writer.write("c", rows(20), split="train[:5]")
    with pytest.raises(TunesmithError, match="the slice"):
        prepare_data(dataset="c", **STREAM)


def test_one_prompt_for_all_rows_cannot_be_held_out(dataset_writer: DatasetWriter, prepare_data: Prepare) -> None:
    dataset_writer.write("a", rows(30, instruction=lambda n: "Write a poem."))
    with pytest.raises(TunesmithError, match="all others have a prompt") as caught:
        prepare_data(dataset="a", val_size=3, do_eval=True, **STREAM)
    assert caught.value.problems[0].code == "data.split_impossible"
