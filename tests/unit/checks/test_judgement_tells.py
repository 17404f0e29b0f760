# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""One feature that tells good from bad answers is found on made sets, whatever it is; sound sets draw no word."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.unit.checks.judged import judged, numbered, pair, rows_of, source
from tunesmith.checks.features import features_of
from tunesmith.checks.judgement_tells import (
    best_border,
    both_labels_weigh_alike,
    length_does_not_tell_the_liked,
    no_feature_tells_the_chosen,
    no_feature_tells_the_liked,
    some_pair_differs,
    spread,
)
from tunesmith.core.types import Conversation, Example, Message, RowKind
from tunesmith.data.examples import read_set
from tunesmith.data.sets import find_sets

NUM = 40
_WORDS = (
    *("river", "harbour", "lantern", "meadow", "copper", "violin", "glacier", "orchard", "saddle", "pepper", "candle"),
    *("thunder", "ribbon", "carries", "follows", "mirrors", "crosses", "answers", "guards", "repairs", "measures"),
)


def sentence(number: int, length: int = 12) -> str:
    """Write words at random, the same for the same number."""
    generator = np.random.default_rng(number)
    return f"{' '.join(generator.choice(_WORDS, length))} {number}."


def pairs(chosen: Sequence[str], rejected: Sequence[str]) -> list[Example]:
    made = zip(chosen, rejected, strict=True)
    return numbered([pair(sentence(500 + number), good, bad) for number, (good, bad) in enumerate(made)])


def feedback(answers: Sequence[str], labels: Sequence[bool]) -> list[Example]:
    made = []
    for number, (answer, label) in enumerate(zip(answers, labels, strict=True)):
        turns = (Message(role="user", content=sentence(500 + number)), Message(role="assistant", content=answer))
        made.append(
            Example(kind="feedback", source=source(number), conversation=Conversation(messages=turns), label=label)
        )
    return made


MARKS = {
    "phrase": ("Thank you for asking, {}", "says “thank you for asking”"),
    "first word": ("Absolutely {}", "begins with the word “absolutely”"),
    "list": ("- {}", "has a list"),
    "bold": ("**Note** {}", "has bold text"),
    "emoji": ("{} \U0001f600.", "has an emoji"),
    "question": ("{} shall we?", "says “shall we”"),
}


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_a_feature_of_one_side_of_pairs_is_named(mark: str, side: str) -> None:
    form, words = MARKS[mark]
    marked = [form.format(sentence(n)) if n != 3 else sentence(n) for n in range(NUM)]
    plain = [sentence(n + 100) for n in range(NUM)]
    sides = (marked, plain) if side == "chosen" else (plain, marked)
    (found,) = judged(no_feature_tells_the_chosen, pairs(*sides))
    assert words in found.message and f"have a {side} answer" in found.message
    assert "none of the" in found.message and 3 not in rows_of([found]) and found.count == NUM - 1


@pytest.mark.parametrize("mark", MARKS)
def test_a_feature_of_liked_or_disliked_answers_is_named(mark: str) -> None:
    form, words = MARKS[mark]
    labels = [n % 2 == 0 for n in range(2 * NUM)]
    answers = [form.format(sentence(n)) if liked else sentence(n) for n, liked in enumerate(labels)]
    (found,) = judged(no_feature_tells_the_liked, feedback(answers, labels))
    assert words in found.message and "have a liked answer" in found.message and rows_of([found]) == [*range(0, 80, 2)]
    (other,) = judged(no_feature_tells_the_liked, feedback(answers, [not label for label in labels]))
    assert "have a disliked answer" in other.message


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_feature_that_many_have_or_both_sides_have_is_no_tell(share: float) -> None:
    marked = [f"Thank you for asking, {sentence(n)}" if n < share * NUM else sentence(n) for n in range(NUM)]
    assert not judged(no_feature_tells_the_chosen, pairs(marked, [sentence(n + 100) for n in range(NUM)]))
    both = [f"Thank you for asking, {sentence(n)}" for n in range(2 * NUM)]
    assert not judged(no_feature_tells_the_chosen, pairs(both[:NUM], both[NUM:]))
    assert not judged(no_feature_tells_the_liked, feedback(both, [n % 2 == 0 for n in range(2 * NUM)]))


def test_few_rows_are_not_judged() -> None:
    marked = [f"Sure, {sentence(n)}" for n in range(15)]
    assert not judged(no_feature_tells_the_chosen, pairs(marked, [sentence(n + 100) for n in range(15)]))


def test_the_length_of_feedback_is_told_in_either_direction() -> None:
    labels = [n % 2 == 0 for n in range(2 * NUM)]
    for wanted, long_side in ((True, "liked"), (False, "disliked")):
        answers = [sentence(n, 30 if label is wanted else 12) for n, label in enumerate(labels)]
        (found,) = judged(length_does_not_tell_the_liked, feedback(answers, labels))
        assert f"characters an answer is {long_side}" in found.message and found.count == 2 * NUM
    mixed = [sentence(n, 12 + 6 * (n % 3)) for n in range(2 * NUM)]
    assert not judged(length_does_not_tell_the_liked, feedback(mixed, labels))


def test_the_best_border_parts_what_can_be_parted() -> None:
    border, share = best_border(np.array([5, 8, 9, 10]), np.array([1, 2, 6]))
    assert (border, share) == (6, 0.875)


def test_equal_pairs_alone_are_refused() -> None:
    same = [sentence(n) for n in range(NUM)]
    (found,) = judged(some_pair_differs, pairs(same, same))
    assert found.count == NUM and "word for word" in found.message
    assert not judged(some_pair_differs, pairs(same, [*same[:-1], sentence(100)]))


@pytest.mark.parametrize(
    ("num_liked", "keys", "remedy"),
    [
        (70, {}, "kto_chosen_weight: 1, kto_rejected_weight: 7"),
        (10, {}, "kto_chosen_weight: 7, kto_rejected_weight: 1"),
        (40, {"kto_rejected_weight": 4}, "kto_chosen_weight: 1, kto_rejected_weight: 1"),
        (40, {}, None),
        (70, {"kto_rejected_weight": 7}, None),
    ],
)
def test_labels_are_weighed(num_liked: int, keys: dict[str, float], remedy: str | None) -> None:
    rows = feedback([sentence(n) for n in range(80)], [n < num_liked for n in range(80)])
    found = judged(both_labels_weigh_alike, rows, stage="kto", **keys)
    assert [remedy in one.remedy for one in found if remedy is not None] == ([True] if remedy is not None else [])
    assert bool(found) is (remedy is not None)


def test_large_sets_are_sampled_evenly() -> None:
    records = spread(np.arange(12345))
    assert len(records) == 500 and records[0] == 0 and records[-1] == 12344 and len(set(np.diff(records))) <= 2


def test_features_are_those_of_the_text() -> None:
    found = features_of("Sure! Here it is:\n\n1. one\n")
    assert {"has a list", "has an exclamation mark", "begins with the word “sure”", "says “here it is”"} <= found
    assert "has several paragraphs" in found and "has a heading" not in found


SOUND: list[tuple[str, RowKind]] = [
    *(("dpo_en.json", "preference"), ("dpo_zh.json", "preference"), ("oasst_rm_zh.json", "preference")),
    ("kto_en.json", "feedback"),
]


@pytest.mark.parametrize(("name", "kind"), SOUND)
def test_sound_sets_pass_silently(name: str, kind: RowKind, assets: Path) -> None:
    file = assets / "datasets" / "preference" / name
    examples = read_set(find_sets([str(file)], "data", key="dataset")[0], kind=kind, seed=0).examples
    rules = {
        "preference": (some_pair_differs, no_feature_tells_the_chosen),
        "feedback": (no_feature_tells_the_liked, length_does_not_tell_the_liked, both_labels_weigh_alike),
    }[kind]
    assert not [found for one in rules for found in judged(one, examples, stage="kto")]


def test_the_bundled_pairs_pass_silently(repository: Path) -> None:
    file = repository / "data" / "preference.jsonl"
    examples = read_set(find_sets([str(file)], "data", key="dataset")[0], kind="preference", seed=0).examples
    assert not judged(no_feature_tells_the_chosen, examples)
