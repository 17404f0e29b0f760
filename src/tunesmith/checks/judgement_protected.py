# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rules about test questions that occur in training: rows of `protected_dataset`, word for word or nearly.

What a model was trained on cannot be measured on it any more, so an exact match is refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tunesmith.checks.context import CheckContext
from tunesmith.checks.judged_rows import JudgedRows, quoted
from tunesmith.checks.judgement import Judgement, judgement, tell
from tunesmith.core.errors import Problem, TunesmithError
from tunesmith.core.types import Example
from tunesmith.data.containment import find_contained
from tunesmith.data.examples import ReadSet, group_bad_rows, read_set
from tunesmith.data.grams import Hashes, grams_of
from tunesmith.data.sets import DataSet, find_sets
from tunesmith.data.traits import compute_traits

_NUM_QUOTES = 3
_REMEDY = "Take these rows out of the training data, or measure on other questions."


@judgement("check.protected_trained", "refuse")
def protected_rows_are_not_trained(context: CheckContext, rows: JudgedRows) -> Iterator[Judgement]:
    """Find training rows that ask what a protected row asks, word for word."""
    questions = _questions(context)
    if not questions:
        return
    protected = compute_traits(questions)["prompt"]
    found = np.flatnonzero(np.isin(rows.trait("prompt"), protected))
    if len(found):
        asked = np.unique(rows.trait("prompt")[found])
        yield from tell(
            rows,
            found,
            f"ask one of {len(asked)} protected questions (of {len(questions)}) word for word, for example:",
            _REMEDY,
            quotes=[_matched(rows, int(record), questions, protected) for record in found[:_NUM_QUOTES]],
        )


def _matched(rows: JudgedRows, record: int, questions: list[Example], protected: Hashes) -> str:
    match = questions[int(np.flatnonzero(protected == rows.trait("prompt")[record])[0])]
    return f"{rows.row_name(record)} as row {match.source.row} of {match.source.dataset} {_quote(match)}"


@judgement("check.protected_nearly_trained", "warn")
def protected_rows_are_not_nearly_trained(context: CheckContext, rows: JudgedRows) -> Iterator[Judgement]:
    """Find training rows that hold nearly all of a protected question, anywhere in them."""
    threshold = context.config.data.near_duplicate_threshold
    questions = _questions(context)
    if not questions or not threshold:
        return
    exact = compute_traits(questions)["prompt"]
    texts = [
        grams_of(np.array(context.tokenizer.encode(_text(question), add_special_tokens=False), dtype=np.int64))
        for question in questions
    ]
    best: dict[int, tuple[float, int]] = {}
    record_of_row = rows.record_of_row()
    for hit in find_contained(rows.rows, texts, threshold):
        record = int(record_of_row[hit.row])
        best[record] = max(best.get(record, (0.0, 0)), (hit.share, -hit.text))
    is_exact = np.isin(rows.trait("prompt"), exact)
    found = [record for record in sorted(best) if not is_exact[record]]
    if found:
        matches = [(record, questions[-best[record][1]], best[record][0]) for record in found]
        yield from tell(
            rows,
            np.array(found),
            f"hold nearly all of a protected question ({len({id(one) for _, one, _ in matches})} of "
            f"{len(questions)}), for example:",
            _REMEDY,
            quotes=[
                f"{rows.row_name(record)} holds {share:.0%} of row {question.source.row} of "
                f"{question.source.dataset} {_quote(question)}"
                for record, question, share in matches[:_NUM_QUOTES]
            ],
        )


@dataclass(frozen=True, kw_only=True)
class _Read:
    """What could be read of the protected sets."""

    questions: tuple[Example, ...]
    problems: tuple[Problem, ...]


def _questions(context: CheckContext) -> list[Example]:
    """Read the protected sets; what is wrong with them is a problem of the run."""
    data = context.config.data
    try:
        sets = find_sets(data.protected_dataset, data.dataset_dir, key="protected_dataset")
    except TunesmithError as error:
        context.problems.extend(error.problems)
        return []
    read = [_read(one) for one in sets]
    context.problems.extend(problem for one in read for problem in one.problems)
    return [question for one in read for question in one.questions]


def _read(data_set: DataSet) -> _Read:
    """Read the questions of a set: prompts, with or without answers, or else plain texts."""
    as_prompts = read_set(data_set, kind="prompt", seed=0)
    if as_prompts.examples:
        return _Read(questions=as_prompts.examples, problems=_problems(as_prompts))
    as_texts = read_set(data_set, kind="text", seed=0)
    best = as_texts if as_texts.examples else as_prompts
    return _Read(questions=best.examples, problems=_problems(best))


def _problems(read: ReadSet) -> tuple[Problem, ...]:
    return (*read.problems, *group_bad_rows(read.bad_rows))


def _text(question: Example) -> str:
    """Give the last turn of the user, or the text."""
    turns = question.conversation.messages if question.conversation is not None else ()
    return next((turn.content for turn in reversed(turns) if turn.role == "user"), question.text or "")


def _quote(question: Example) -> str:
    return quoted(_text(question))
