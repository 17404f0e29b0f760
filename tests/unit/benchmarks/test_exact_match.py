# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The score counts what it says, equal texts or equal JSON values, and names its scorer and its data."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from torch import Tensor

from tunesmith.benchmarks.exact_match import SCORER, is_match, measure
from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import Completion, Conversation, Example, Message, RowRef, Sampling
from tunesmith.engines.base import Advance, Engine, ignore
from tunesmith.templates.base import ChatTemplate
from tunesmith.templates.chat import load_template
from tunesmith.templates.tokenizer import load_tokenizer

SAMPLING = Sampling(max_new_tokens=8, stop_ids=(2,))


class FixedEngine(Engine):
    """Gives prepared answers and keeps the prompts."""

    def __init__(self, answers: Sequence[Sequence[int]]) -> None:
        self._answers = answers
        self.prompts: list[list[int]] = []

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, *, advance: Advance = ignore
    ) -> list[Completion]:
        self.prompts = [list(prompt) for prompt in prompts]
        return [
            Completion(
                token_ids=tuple(answer),
                logps=(0.0,) * len(answer),
                finish_reason="stop" if answer[-1] in sampling.stop_ids else "length",
            )
            for answer in self._answers
        ]

    def stream(self, prompt: Sequence[int], sampling: Sampling) -> Iterator[int]:
        yield from self._answers[0]

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        self.prompts = []

    def close(self) -> None:
        self.prompts = []


@pytest.fixture(scope="module")
def template(assets: Path) -> ChatTemplate:
    return load_template(load_tokenizer(assets / "tokenizers" / "smollm2"))


def example(row: int, question: str, answer: str) -> Example:
    messages = (Message(role="user", content=question), Message(role="assistant", content=answer))
    source = RowRef(dataset="test", file="test.jsonl", row=row)
    return Example(kind="supervised", source=source, conversation=Conversation(messages=messages))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (" Paris\n", "Paris"),
        ('{"a": 1, "b": [2]}', '{"b":[2],"a":1}'),
        ('{"a": 1.0}', '{"a": 1}'),
        ('{"a": 0.5}', '{"a": 5e-1}'),
        ('{"a": "\\u00e9"}', '{"a": "é"}'),
        ("NaN", "NaN"),
    ],
)
def test_equal_answers_match(answer: str, expected: str) -> None:
    assert is_match(answer, expected)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("paris", "Paris"),
        ('{"a": [1, 2]}', '{"a": [2, 1]}'),
        ('{"a": true}', '{"a": 1}'),
        ('{"a": "1"}', '{"a": 1}'),
        ('{"a": 1} x', '{"a": 1}'),
        ("[NaN]", "[NaN ]"),
        ("", "x"),
    ],
)
def test_other_answers_do_not(answer: str, expected: str) -> None:
    assert not is_match(answer, expected)


def test_the_score_counts_rows(template: ChatTemplate, assets: Path) -> None:
    tokenizer = load_tokenizer(assets / "tokenizers" / "smollm2")
    texts = ['{"n": 1}<|im_end|>', '{"n": 3}<|im_end|>', "it is"]
    engine = FixedEngine([tokenizer(text)["input_ids"] for text in texts])
    rows = [example(4, "one?", '{ "n": 1 }'), example(5, "two?", '{"n": 2}'), example(9, "three?", "it is three")]
    result = measure(engine, template, rows, sampling=SAMPLING)
    assert (result.rows, result.correct, result.unfinished) == (3, 1, 1)
    assert result.score == pytest.approx(1 / 3)
    assert [prediction.is_correct for prediction in result.predictions] == [True, False, False]
    assert [prediction.source.row for prediction in result.predictions] == [4, 5, 9]
    assert result.predictions[1].prediction == '{"n": 3}'
    served = template.render(Conversation(messages=(Message(role="user", content="two?"),)), add_generation_prompt=True)
    assert engine.prompts[1] == served.input_ids.tolist()
    report = result.to_json()
    assert report["score"] == result.score and report["scorer"] == SCORER
    assert report["predictions"][0]["prompt"] == "one?"


def test_the_data_are_identified(template: ChatTemplate) -> None:
    def identity(rows: list[Example]) -> str:
        return measure(FixedEngine([[5, 2]] * len(rows)), template, rows, sampling=SAMPLING).data

    rows = [example(0, "a", "b"), example(1, "c", "d")]
    assert identity(rows) == identity([example(7, "a", "b"), example(8, "c", "d")])
    assert len({identity(rows), identity(rows[::-1]), identity([rows[0], example(1, "c", "e")])}) == 3


def test_rows_without_an_answer_are_refused(template: ChatTemplate) -> None:
    source = RowRef(dataset="test", file="test.jsonl", row=3)
    for row in (
        Example(kind="text", source=source, text="x"),
        Example(kind="prompt", source=source, conversation=Conversation(messages=(Message(role="user", content="x"),))),
    ):
        with pytest.raises(TunesmithError) as caught:
            measure(FixedEngine([[2]]), template, [row], sampling=SAMPLING)
        problem = caught.value.problems[0]
        assert problem.code == "benchmark.answer_missing" and problem.where.rows == (3,)
    with pytest.raises(TunesmithError) as caught:
        measure(FixedEngine([]), template, [], sampling=SAMPLING)
    assert caught.value.problems[0].code == "benchmark.data_empty"
