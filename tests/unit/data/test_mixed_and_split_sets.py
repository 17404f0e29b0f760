# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Whole sets, mixed and split as the keys say: no prompt and no long answer on both sides, classes spread evenly."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DatasetWriter
from tests.unit.data.conftest import Prepare
from tunesmith.core.report import collected_warnings
from tunesmith.data.pipeline import VALIDATION, PreparedData
from tunesmith.data.store import TokenRows


def places(rows: TokenRows | None) -> list[tuple[str, int]]:
    assert rows is not None
    return [(rows.source(row).dataset, rows.source(row).row) for row in range(len(rows))]


def numbers(prepared: PreparedData) -> tuple[list[int], list[int]]:
    return [row for _, row in places(prepared.train)], [row for _, row in places(prepared.evals[VALIDATION])]


def made(count: int, *, prompts: int, answers: int) -> list[dict[str, Any]]:
    """Make rows of some distinct prompts and long answers."""
    return [
        {
            "instruction": f"Question {n % prompts}?",
            "output": f"A rather long answer, which has the number {n % answers} in it.",
        }
        for n in range(count)
    ]


@pytest.mark.parametrize(("prompts", "answers"), [(400, 400), (100, 400), (400, 60), (200, 150)])
def test_no_prompt_and_no_long_answer_is_on_both_sides(
    prepare_data: Prepare, dataset_writer: DatasetWriter, prompts: int, answers: int
) -> None:
    rows = made(400, prompts=prompts, answers=answers)
    if (prompts, answers) == (200, 150):  # chains: each pair of rows shares a prompt, other pairs an answer
        for number, row in enumerate(rows):
            row["instruction"], row["output"] = (
                f"Question {number // 2}?",
                f"A rather long answer, which four rows have: {number // 4}.",
            )
    dataset_writer.write("a", rows)
    train, held = numbers(prepare_data(dataset="a", val_size=0.1))
    assert sorted(train + held) == list(range(400))
    assert 36 <= len(held) <= 40
    for column in ("instruction", "output"):
        assert not {rows[row][column] for row in train} & {rows[row][column] for row in held}


def test_classes_are_spread_evenly(prepare_data: Prepare, assets: Path) -> None:
    path = assets / "datasets" / "classification" / "thucnews_train.jsonl"
    labels = [json.loads(line)["label"] for line in path.read_text(encoding="utf-8").splitlines()]
    train, held = numbers(prepare_data(dataset=str(path), val_size=0.1))
    assert sorted(train + held) == list(range(len(labels)))
    assert abs(len(held) - len(labels) / 10) <= 1
    counts, taken = Counter(labels), Counter(labels[row] for row in held)
    assert all(abs(taken[label] - counts[label] / 10) <= 1.5 for label in counts), (counts, taken)


@pytest.mark.parametrize(("name", "val_size"), [("alpaca_en", 0.1), ("alpaca_zh", 37)])
def test_real_sets_split_to_the_size_asked(prepare_data: Prepare, assets: Path, name: str, val_size: float) -> None:
    path = assets / "datasets" / "sft" / f"{name}.json"
    rows = json.loads(path.read_text(encoding="utf-8"))
    train, held = numbers(prepare_data(dataset=str(path), val_size=val_size, max_row_loss=0.1))
    count = len(train) + len(held)
    assert len(held) == (round(count * val_size) if val_size < 1 else val_size)
    prompts = [(row["instruction"], row.get("input")) for row in rows]
    assert not {prompts[row] for row in train} & {prompts[row] for row in held}


def test_a_random_split_parts_rows_and_says_how_many(prepare_data: Prepare, dataset_writer: DatasetWriter) -> None:
    rows = made(200, prompts=200, answers=50)
    dataset_writer.write("a", rows)
    train, held = numbers(prepare_data(dataset="a", val_size=0.2, val_split_by="random"))
    assert len(held) == 40
    answers = {rows[row]["output"] for row in train}
    num_shared = sum(rows[row]["output"] in answers for row in held)
    (warning,) = [problem for problem in collected_warnings() if problem.code == "data.split_shares_rows"]
    assert f"Of 40 evaluation rows {num_shared} have" in warning.message


def test_near_duplicates_stay_together_when_asked(prepare_data: Prepare, dataset_writer: DatasetWriter) -> None:
    words = ["river", "copper", "violin", "harvest", "lantern", "meadow", "glacier", "orchard", "compass", "thunder"]
    rows = []
    for n in range(60):
        text = " ".join(words[(n * 7 + i * (1 + n % 5)) % 10] + str(n * i % 11) for i in range(40))
        rows += [{"instruction": f"{text} {suffix}", "output": f"{text[::-1]} {suffix}"} for suffix in ("one", "two")]
    dataset_writer.write("a", rows)
    near = numbers(prepare_data(dataset="a", val_size=0.2, val_split_by="near_duplicates"))
    assert not {row // 2 for row in near[0]} & {row // 2 for row in near[1]}
    apart = numbers(prepare_data(dataset="a", val_size=0.2))
    assert {row // 2 for row in apart[0]} & {row // 2 for row in apart[1]}


def test_sets_are_interleaved(prepare_data: Prepare, dataset_writer: DatasetWriter) -> None:
    for name, count in (("a", 3), ("b", 2)):
        rows = [{"instruction": f"{name} {n}?", "output": f"It is {n}."} for n in range(count)]
        dataset_writer.write(name, rows)
    turns = places(prepare_data(dataset="a,b", mix_strategy="interleave_over").train)
    assert turns == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 0)]
    drawn = places(prepare_data(dataset="a,b", mix_strategy="interleave_under", interleave_probs="1,0").train)
    assert drawn == [("a", 0), ("a", 1), ("a", 2)]


@pytest.mark.parametrize("val_size", [0, 4])
def test_rows_that_a_mix_does_not_reach_are_told(
    prepare_data: Prepare, dataset_writer: DatasetWriter, val_size: int
) -> None:
    for name, count in (("a", 30), ("b", 10)):
        rows = [{"instruction": f"{name} {n}?", "output": f"It is {n}."} for n in range(count)]
        dataset_writer.write(name, rows)
    prepared = prepare_data(dataset="a,b", mix_strategy="interleave_under", val_size=val_size, max_row_loss=0)
    reached = set(places(prepared.train))
    ledger = prepared.ledger.to_json()
    (reason,) = ledger["reasons"]
    assert (reason["reason"], reason["by_choice"], reason["dataset"]) == ("not_mixed", True, "a")
    held = set() if not val_size else set(places(prepared.evals[VALIDATION]))
    expected = {("a", row) for row in range(30)} - reached - held
    assert {("a", row) for row in reason["rows"]} == expected and reason["count"] == len(expected)
    assert ledger["rows_in"] == 40 and ledger["rows_kept"] == len(reached) + len(held)


def test_evaluation_sets_are_one_unless_asked_apart(prepare_data: Prepare, dataset_writer: DatasetWriter) -> None:
    for name in ("a", "b", "c"):
        dataset_writer.write(name, [{"instruction": f"{name} {n}?", "output": f"It is {n}."} for n in range(4)])
    together = prepare_data(dataset="a", eval_dataset="b,c").evals
    assert {name: len(rows) for name, rows in together.items()} == {VALIDATION: 8}
    apart = prepare_data(dataset="a", eval_dataset="b,c", eval_on_each_dataset=True).evals
    assert {name: len(rows) for name, rows in apart.items()} == {"b": 4, "c": 4}
