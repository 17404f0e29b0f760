# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Preparation end to end: stores, ledger, and refusal of everything wrong in one error."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

from tests.conftest import DatasetWriter
from tests.unit.data.conftest import Prepare
from tunesmith.core.errors import Problem, TunesmithError
from tunesmith.templates.base import ChatTemplate

LONG = "many words " * 60


def rows(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [
        {"instruction": f"Say {number}.", "input": "", "output": f"It is {number}.", **changes}
        for number in range(count)
    ]


def refused(prepare_data: Prepare, **keys: Any) -> tuple[Problem, ...]:
    with pytest.raises(TunesmithError) as caught:
        prepare_data(**keys)
    return caught.value.problems


def test_rows_are_rendered_by_the_template(
    prepare_data: Prepare, tiny_dataset: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    prepared = prepare_data(dataset="tiny")
    assert prepared.train is not None and len(prepared.train) == 24 and not prepared.evals
    row = prepared.train[3]
    assert tokenizer.decode(row.input_ids[row.weights > 0]) == "It is 6.<|im_end|>"
    assert row.source.row == 3 and row.source.dataset == "tiny"
    messages = [{"role": "user", "content": "What is 3 plus 3?"}, {"role": "assistant", "content": "It is 6."}]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    assert isinstance(text, str) and tokenizer.decode(row.input_ids) == text
    assert (prepared.ledger.count("kept"), prepared.ledger.num_rows) == (24, 24)


def test_preparation_is_reproducible(prepare_data: Prepare, tiny_dataset: Path) -> None:
    prints = []
    for keys in ({"seed": 1}, {"seed": 1}, {"seed": 2}):
        prepared = prepare_data(dataset="tiny", val_size=0.25, **keys)
        assert prepared.train is not None
        prints.append((prepared.train.fingerprint, prepared.evals["eval"].fingerprint))
        assert (len(prepared.train), len(prepared.evals["eval"])) == (18, 6)
    assert prints[0] == prints[1] != prints[2]


def test_sets_are_mixed_sampled_and_kept_apart(prepare_data: Prepare, dataset_writer: DatasetWriter) -> None:
    dataset_writer.write("one", rows(10))
    dataset_writer.write("two", rows(8), num_samples=5)
    dataset_writer.write("three", rows(3))
    prepared = prepare_data(dataset="one,two", eval_dataset="three,one", max_samples=6, eval_on_each_dataset=True)
    assert prepared.train is not None
    assert [prepared.train[index].source.dataset for index in range(11)] == ["one"] * 6 + ["two"] * 5
    assert {name: len(store) for name, store in prepared.evals.items()} == {"three": 3, "one": 6}
    assert (prepared.ledger.num_rows, prepared.ledger.count("kept"), prepared.ledger.num_lost) == (31, 20, 0)


def test_more_samples_than_rows_repeat_rows(prepare_data: Prepare, dataset_writer: DatasetWriter) -> None:
    dataset_writer.write("few", rows(4), num_samples=10)
    prepared = prepare_data(dataset="few")
    assert prepared.train is not None
    sources = [prepared.train[index].source.row for index in range(len(prepared.train))]
    assert len(sources) == 10 and set(sources) == {0, 1, 2, 3}


def test_a_slice_of_a_set_is_read(prepare_data: Prepare, dataset_writer: DatasetWriter) -> None:
    dataset_writer.write("part", rows(20), split="train[25%:15]")
    prepared = prepare_data(dataset="part")
    assert prepared.train is not None
    assert [prepared.train[index].source.row for index in range(len(prepared.train))] == list(range(5, 15))


def test_all_broken_rows_are_told_by_code_and_row(prepare_data: Prepare, dataset_writer: DatasetWriter) -> None:
    broken = rows(12)
    broken[3] = {"instruction": "a"}
    broken[5]["output"] = 5
    broken[7]["output"] = {"x": 1}
    path = dataset_writer.write("broken", broken)
    with path.open("a", encoding="utf-8") as stream:
        stream.write("{oops\n")
    problems = refused(prepare_data, dataset="broken")
    assert {problem.code: problem.where.rows for problem in problems} == {
        "data.column_missing": (3,),
        "data.type_wrong": (5, 7),
        "data.json_malformed": (12,),
    }
    assert all(problem.where.file == path.as_posix() and problem.exit_code == 3 for problem in problems)
    malformed = next(problem for problem in problems if problem.code == "data.json_malformed")
    assert malformed.where.line == 13 and "Line 13" in malformed.message


def test_broken_rows_may_be_dropped_when_the_user_says_how_many(
    prepare_data: Prepare, dataset_writer: DatasetWriter
) -> None:
    broken = rows(10)
    del broken[3]["output"]
    dataset_writer.write("broken", broken)
    prepared = prepare_data(dataset="broken", max_row_loss=0.1)
    assert prepared.train is not None and len(prepared.train) == 9
    (reason,) = prepared.ledger.to_json()["reasons"]
    assert (reason["reason"], reason["rows"]) == ("data.column_missing", [3])
    assert [problem.code for problem in refused(prepare_data, dataset="broken", max_row_loss=0.05)] == [
        "data.rows_lost"
    ]


def test_named_columns_that_no_row_has_are_refused(prepare_data: Prepare, dataset_writer: DatasetWriter) -> None:
    dataset_writer.write("named", rows(3), columns={"system": "sytem", "history": None})
    (problem,) = refused(prepare_data, dataset="named")
    assert problem.code == "data.column_missing" and "'sytem'" in problem.message


def test_the_policy_decides_on_long_rows(prepare_data: Prepare, dataset_writer: DatasetWriter) -> None:
    long_prompt, long_answer = rows(20), rows(20)
    long_prompt[4]["input"] = LONG
    long_answer[6]["output"] = LONG
    dataset_writer.write("prompt", long_prompt)
    dataset_writer.write("answer", long_answer)
    cut = prepare_data(dataset="prompt", cutoff_len=64)
    assert cut.train is not None and len(cut.train) == 20 and cut.train.lengths.max() <= 64
    assert [entry["rows"] for entry in cut.ledger.to_json()["reasons"]] == [[4]]
    (problem,) = refused(prepare_data, dataset="answer", cutoff_len=64)
    assert problem.code == "data.rows_lost" and "answer_too_long" in problem.message and problem.where.rows == (6,)
    (problem,) = refused(prepare_data, dataset="prompt", cutoff_len=64, length_policy="refuse")
    assert problem.code == "data.row_too_long" and problem.where.rows == (4,)
    dropped = prepare_data(dataset="prompt,answer", cutoff_len=64, length_policy="drop")
    assert dropped.train is not None and len(dropped.train) == 38
    assert dropped.ledger.num_lost == 0 and dropped.ledger.count("dropped") == 2


def test_nothing_left_is_refused(prepare_data: Prepare, dataset_writer: DatasetWriter) -> None:
    dataset_writer.write("long", rows(3, input=LONG))
    (problem,) = refused(prepare_data, dataset="long", cutoff_len=64, length_policy="drop")
    assert problem.code == "data.rows_none"


def test_a_first_token_is_never_a_target(prepare_data: Prepare, tiny_dataset: Path) -> None:
    prepared = prepare_data(dataset="tiny", train_on_prompt=True)
    assert prepared.train is not None
    assert (prepared.train.num_supervised == prepared.train.lengths - 1).all()


def test_masked_rows_count_as_lost(prepare_data: Prepare, dataset_writer: DatasetWriter) -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "loss_weight": 0}]
    dataset_writer.write("masked", [{"messages": messages}])
    (problem,) = refused(prepare_data, dataset="masked")
    assert problem.code == "data.rows_lost" and "nothing_supervised" in problem.message


@pytest.mark.parametrize(
    ("description", "row"),
    [
        ({"formatting": "text"}, {"text": "a story"}),
        ({}, {"text": "a story"}),
        ({"columns": {"prompt": "text"}}, {"text": "a story"}),
        ({"columns": {"prompt": "body", "response": None}}, {"body": "a story", "output": "x"}),
    ],
)
def test_texts_are_described_in_several_ways(
    prepare_data: Prepare, dataset_writer: DatasetWriter, tokenizer: PreTrainedTokenizerBase,
    description: dict[str, Any], row: dict[str, str],
) -> None:  # fmt: skip
    dataset_writer.write("texts", [row] * 3, **description)
    prepared = prepare_data(dataset="texts", stage="pt", cutoff_len=64)
    assert prepared.train is not None
    assert tokenizer.decode(prepared.train[0].input_ids) == "a story<|im_end|>" * 3
    apart = prepare_data(dataset="texts", stage="pt", cutoff_len=64, packing=False)
    assert apart.train is not None and len(apart.train) == 3


def test_rows_of_another_kind_are_refused(prepare_data: Prepare, dataset_writer: DatasetWriter) -> None:
    dataset_writer.write("answers", rows(3))
    dataset_writer.write("texts", [{"text": "a"}])
    dataset_writer.write("pairs", [{"instruction": "a", "chosen": "b", "rejected": "c"}], ranking=True)
    asked = [("answers", "pt"), ("texts", "sft"), ("pairs", "sft")]
    codes = [refused(prepare_data, dataset=name, stage=stage)[0].code for name, stage in asked]
    assert codes == ["data.kind_wrong"] * 3


def test_a_missing_answer_column_names_its_nearest(prepare_data: Prepare, dataset_writer: DatasetWriter) -> None:
    dataset_writer.write("typo", [{"instruction": "a", "ouput": "b"}])
    (problem,) = refused(prepare_data, dataset="typo")
    assert problem.code == "data.column_missing" and "Did you mean 'ouput'" in problem.remedy


def test_an_empty_set_is_refused(prepare_data: Prepare, dataset_writer: DatasetWriter) -> None:
    dataset_writer.write("empty", [])
    (problem,) = refused(prepare_data, dataset="empty")
    assert problem.code == "data.set_empty"


def test_decisions_are_told_once(
    prepare_data: Prepare, tiny_dataset: Path, capsys: pytest.CaptureFixture[str], template: ChatTemplate
) -> None:
    prepare_data(dataset="tiny")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("tiny: read as alpaca") == 1


def test_the_ledger_is_json(prepare_data: Prepare, tiny_dataset: Path) -> None:
    ledger = prepare_data(dataset="tiny", val_size=4).ledger
    content = json.loads(json.dumps(ledger.to_json()))
    assert [(entry["split"], entry["rows_in"]) for entry in content["datasets"]] == [("train", 20), ("eval", 4)]


@pytest.mark.parametrize("keys", [{}, {"max_row_loss": 0.5}])
def test_a_set_without_a_readable_row_is_refused(
    prepare_data: Prepare, dataset_writer: DatasetWriter, keys: dict[str, Any]
) -> None:
    dataset_writer.write("bad", []).write_text("{oops\n{oops\n", encoding="utf-8")
    problem = refused(prepare_data, dataset="bad", **keys)[0]
    assert (problem.code, problem.where.num_rows) == ("data.json_malformed", 2)


def test_what_was_prepared_is_found_again(prepare_data: Prepare, tiny_dataset: Path) -> None:
    first = prepare_data(dataset="tiny", val_size=4, preprocessing_batch_size=5)
    again = prepare_data(dataset="tiny", val_size=4, preprocessing_batch_size=5)
    assert first.made is not None and again.made is not None and first.train is not None and again.train is not None
    assert (first.made.num_made, first.made.num_rows) == (5, 24)
    assert (again.made.num_made, again.made.num_reused) == (0, 5)
    assert again.train.fingerprint == first.train.fingerprint
    assert again.evals["eval"].fingerprint == first.evals["eval"].fingerprint
    assert again.ledger.to_json() == first.ledger.to_json()


def test_another_split_or_mix_prepares_nothing_anew(prepare_data: Prepare, tiny_dataset: Path) -> None:
    prepare_data(dataset="tiny")
    keys: dict[str, Any]
    for keys in ({"val_size": 0.5}, {"val_size": 4, "seed": 7}, {"val_size": 4, "val_split_by": "random"}):
        made = prepare_data(dataset="tiny", **keys).made
        assert made is not None and made.num_made == 0
    for keys in ({"cutoff_len": 100}, {"train_on_prompt": True}, {"overwrite_cache": True}):
        made = prepare_data(dataset="tiny", **keys).made
        assert made is not None and made.num_made == 1


def test_data_is_prepared_where_the_user_says(prepare_data: Prepare, tiny_dataset: Path, tmp_path: Path) -> None:
    prepared = prepare_data(dataset="tiny", tokenized_path=str(tmp_path / "mine"))
    assert prepared.folder == tmp_path / "mine" and len(list((tmp_path / "mine").rglob("*.npy"))) == 1


def test_a_row_in_training_and_evaluation_is_encoded_once(prepare_data: Prepare, tiny_dataset: Path) -> None:
    prepared = prepare_data(dataset="tiny", eval_dataset="tiny")
    assert prepared.made is not None and prepared.made.num_made == 1 and prepared.train is not None
    assert prepared.evals["tiny"].lengths.tolist() == prepared.train.lengths.tolist()


def test_a_column_that_only_late_rows_have_is_found(prepare_data: Prepare, dataset_writer: DatasetWriter) -> None:
    late = [*rows(20), {**rows(1)[0], "persona": "Be brief."}]
    dataset_writer.write("late", late, columns={"system": "persona"})
    prepared = prepare_data(dataset="late", preprocessing_batch_size=4)
    assert prepared.train is not None and len(prepared.train) == 21
