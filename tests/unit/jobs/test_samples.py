# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Sample answers: which prompts are asked, and which answers are called degenerate."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.unit.training.batches import make_feedback, make_pairs
from tunesmith.core.types import Completion, Conversation, Message, RowRef, TokenRow
from tunesmith.data.store import build_store
from tunesmith.jobs.samples import Answerer, compare, degeneration, pick_prompts, repeats, split_row, to_lines
from tunesmith.templates.chat import load_template
from tunesmith.templates.tokenizer import load_tokenizer


def row(number: int, weights: Sequence[float]) -> TokenRow:
    return TokenRow(
        source=RowRef(dataset="d", file="d.jsonl", row=number),
        input_ids=np.arange(100, 100 + len(weights), dtype=np.int32),
        weights=np.array(weights, dtype=np.float32),
        segment_lengths=(len(weights),),
    )


def test_a_prompt_ends_before_the_last_answer() -> None:
    store = build_store([row(0, [0, 0, 1, 1, 0, 0, 0, 1, 1, 0])])
    prompt = split_row(store, 0)
    assert prompt is not None
    assert prompt.prompt_ids == tuple(range(100, 107)) and prompt.expected_ids == (107, 108)


def test_plain_text_is_continued_from_its_first_half() -> None:
    store = build_store([row(0, [1] * 10), row(1, [0] + [1] * 99)])
    prompts = [split_row(store, index) for index in (0, 1)]
    assert [len(prompt.prompt_ids) for prompt in prompts if prompt] == [5, 24]


def test_prompts_are_spread_over_the_rows_and_long_ones_passed_over() -> None:
    rows = [row(number, [0] * (600 if number in (0, 4) else 5) + [1, 1]) for number in range(9)]
    assert [prompt.source.row for prompt in pick_prompts(build_store(rows))] == [1, 3, 6]
    assert pick_prompts(build_store(rows[:1])) == pick_prompts(build_store([row(0, [0, 0])])) == []


@pytest.mark.parametrize(
    ("ids", "is_repeating"),
    [
        ([7] * 40, True),
        (list(range(50)) + [1, 2, 3] * 12, True),
        (list(range(60)), False),
        ([7] * 20, False),
        (list(range(20)) * 3, False),
    ],
)
def test_repetition(ids: list[int], is_repeating: bool) -> None:
    assert repeats(ids) is is_repeating


def test_degenerate_answers_are_named(assets: Path) -> None:
    tokenizer = load_tokenizer(assets / "tokenizers" / "smollm2")
    answerer = Answerer(tokenizer=tokenizer, stop_ids=(2,), pad_id=2)
    store = build_store([row(number, [0, 0, 0, 1, 1, 1]) for number in range(3)])
    prompts = pick_prompts(store)
    good = Completion(token_ids=tuple(tokenizer.encode("It is a good answer.")), logps=(), finish_reason="stop")
    empty = Completion(token_ids=(2,), logps=(), finish_reason="stop")
    endless = Completion(token_ids=(650,) * 64, logps=(), finish_reason="length")
    sound = compare(answerer, prompts, [empty] * 3, [good] * 3)
    assert degeneration(sound) is None and sound[0]["after"] == "It is a good answer."
    samples = compare(answerer, prompts, [good] * 3, [good, empty, endless])
    assert [sample["fault"] for sample in samples] == [None, "empty", "repeating"]
    problem = degeneration(samples)
    assert problem is not None and problem.code == "training.output_degenerate"
    assert "2 of 3" in problem.message and "empty and repeating" in problem.message and problem.where.rows == (1, 2)
    assert any("(repeating)" in line for line in to_lines(samples))
    as_before = compare(answerer, prompts, [good, empty, endless], [good, empty, endless])
    assert degeneration(as_before) is None and as_before[1]["fault"] == "empty"


@pytest.mark.parametrize("name", ["smollm2", "qwen3", "llama3_1", "mistral_v3"])
def test_the_last_question_is_shown_without_the_template(name: str, assets: Path) -> None:
    tokenizer = load_tokenizer(assets / "tokenizers" / name)
    template = load_template(tokenizer, name=None, folder=assets / "tokenizers" / name)
    turns = [("user", "Hi."), ("assistant", "Hello."), ("user", "Which river\nis it?")]
    conversation = Conversation(messages=tuple(Message(role=role, content=text) for role, text in turns))  # type: ignore[arg-type]
    ids = template.render(conversation, add_generation_prompt=True).input_ids.tolist()
    answerer = Answerer(tokenizer=tokenizer, stop_ids=(2,), pad_id=2)
    assert answerer.question(ids) == "Which river\nis it?"
    assert answerer.question(tokenizer.encode("Once upon a time", add_special_tokens=False)) == "Once upon a time"
    assert answerer.question([]) == ""


def test_empty_answers_are_shown_as_such() -> None:
    sample = {"prompt": "a", "before": "", "after": "", "expected": "b", "fault": "empty"}
    assert to_lines([sample])[1:3] == ["    before:   (empty)", "    after:    (empty)"]


def test_of_several_answers_the_chosen_one_is_expected() -> None:
    store = build_store(make_pairs((6, 8, 5, 7), seed=1))
    for number in range(len(store)):
        made, prompt = store[number], split_row(store, number)
        assert prompt is not None
        start, chosen = made.segment_lengths[:2]
        assert prompt.prompt_ids == tuple(made.input_ids[:start].tolist())
        assert prompt.expected_ids == tuple(made.input_ids[start : start + chosen].tolist())
    feedback = build_store(make_feedback((6, 8), seed=1))
    assert [split_row(feedback, number) is None for number in range(2)] == [feedback[n].label == 0 for n in range(2)]
