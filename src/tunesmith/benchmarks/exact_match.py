# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Exact match: the share of rows whose answer is the expected one, as text or as the same JSON value.

An answer counts when its text equals the expected one, both stripped of white space at the ends, or when both are JSON
of equal value: objects regardless of the order of keys, numbers by value, true never equal to 1.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

from tunesmith.core.errors import TunesmithError, refusal
from tunesmith.core.types import Conversation, Example, Message, RowRef, Sampling
from tunesmith.engines.base import Advance, Engine, ignore
from tunesmith.templates.base import ChatTemplate, TrainPolicy

# Part of every result: scores of different scorers are not to be put side by side. Count it up with every change.
SCORER = "exact_match/1"


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One row's answer beside the expected one."""

    source: RowRef
    prompt: str
    expected: str
    prediction: str
    is_correct: bool
    finish_reason: str


@dataclass(frozen=True, kw_only=True)
class ExactMatch:
    """A score with what it was made of; `data` is the hash of all prompts and expected answers in order."""

    rows: int
    correct: int
    unfinished: int
    scorer: str
    data: str
    predictions: tuple[Prediction, ...]

    @property
    def score(self) -> float:
        """Share of correct rows."""
        return self.correct / self.rows

    def to_json(self) -> dict[str, Any]:
        """Give the JSON object of the result, predictions included."""
        return {"score": self.score, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class _Task:
    source: RowRef
    prompt: Conversation
    expected: Message


def measure(
    engine: Engine,
    template: ChatTemplate,
    examples: Sequence[Example],
    *,
    sampling: Sampling,
    policy: TrainPolicy | None = None,
    advance: Advance = ignore,
) -> ExactMatch:
    """Let the model answer the last turn of every row, and compare with the row's own answer."""
    if not examples:
        raise refusal(
            "benchmark.data_empty", "There are no rows to measure on.", "Name a data set with at least one row."
        )
    tasks = [_to_task(example) for example in examples]
    prompts = _render(template, tasks, policy)
    completions = engine.generate(prompts, sampling, advance=advance)
    predictions = []
    for task, completion in zip(tasks, completions, strict=True):
        answer = template.parse(completion.token_ids).content
        predictions.append(
            Prediction(
                source=task.source,
                prompt=task.prompt.messages[-1].content,
                expected=task.expected.content,
                prediction=answer,
                is_correct=is_match(answer, task.expected.content),
                finish_reason=completion.finish_reason,
            )
        )
    return ExactMatch(
        rows=len(predictions),
        correct=sum(prediction.is_correct for prediction in predictions),
        unfinished=sum(prediction.finish_reason == "length" for prediction in predictions),
        scorer=SCORER,
        data=_data_hash(tasks),
        predictions=tuple(predictions),
    )


def is_match(answer: str, expected: str) -> bool:
    """Compare an answer with the expected one: equal stripped texts, or equal JSON values."""
    if answer.strip() == expected.strip():
        return True
    ours, theirs = _canonical(answer), _canonical(expected)
    return ours is not None and ours == theirs


def _canonical(text: str) -> str | None:
    """Write a JSON text in one form, or give None where it is none."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_number)
    except ValueError:
        return None
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _number(text: str) -> int | float:
    value = float(text)
    return int(value) if value.is_integer() else value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _to_task(example: Example) -> _Task:
    messages = example.conversation.messages if example.conversation is not None else ()
    if example.conversation is None or len(messages) < 2 or messages[-1].role != "assistant":
        raise refusal(
            "benchmark.answer_missing",
            "A row to measure on has no question with an answer at its end.",
            "Use a data set for supervised training, whose rows end with the expected answer.",
            file=example.source.file,
            dataset=example.source.dataset,
            rows=(example.source.row,),
            num_rows=1,
        )
    prompt = Conversation(messages=messages[:-1], tools=example.conversation.tools)
    return _Task(source=example.source, prompt=prompt, expected=messages[-1])


def _render(template: ChatTemplate, tasks: Sequence[_Task], policy: TrainPolicy | None) -> list[list[int]]:
    rendered = template.render_many([task.prompt for task in tasks], add_generation_prompt=True, policy=policy)
    prompts: list[list[int]] = []
    for item in rendered:
        if isinstance(item, TunesmithError):
            raise item
        prompts.append(item.input_ids.tolist())
    return prompts


def _data_hash(tasks: Sequence[_Task]) -> str:
    digest = hashlib.sha256()
    for task in tasks:
        row = [asdict(task.prompt), asdict(task.expected)]
        digest.update(json.dumps(row, ensure_ascii=False, sort_keys=True, default=dict).encode() + b"\n")
    return digest.hexdigest()
