# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Traits: equal parts have equal hashes in every process, and answers are marked by what they are."""

import subprocess
import sys
from dataclasses import replace

import pytest

from tests.unit.checks.judged import answered, pair, plain, source
from tunesmith.core.types import Conversation, Example, Message, ToolCall
from tunesmith.data.masking import is_placeholder, is_refusal, num_letters, skeleton_of
from tunesmith.data.traits import TRAITS, Flag, compute_traits


def flags_of(example: Example) -> Flag:
    return Flag(int(compute_traits([example])["flags"][0]))


def test_every_trait_has_its_type_also_without_rows() -> None:
    for examples in ([], [answered("a", "b"), pair("a", "b", "c"), plain("t")]):
        traits = compute_traits(examples)
        assert {name: array.dtype for name, array in traits.items()} == TRAITS
        assert {len(array) for array in traits.values()} == {len(examples)}


def test_hashes_are_those_of_another_process() -> None:
    script = (
        "from tests.unit.checks.judged import answered\nfrom tunesmith.data.traits import compute_traits\n"
        "print(*(int(array[0]) for array in compute_traits([answered('Wie viel?', 'Fünf 三')]).values()))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    here = compute_traits([answered("Wie viel?", "Fünf 三")])
    assert list(map(int, found.split())) == [int(array[0]) for array in here.values()]


def test_prompt_is_what_is_asked_and_context_what_the_answer_depends_on() -> None:
    bare = answered("Which river?", "The Danube.")
    assert bare.conversation is not None
    turns = (Message(role="system", content="Be brief."), *bare.conversation.messages)
    with_system = replace(bare, conversation=replace(bare.conversation, messages=turns))
    traits = compute_traits([bare, with_system, answered("Which river?", " The Danube.\n")])
    assert len(set(traits["prompt"].tolist())) == len(set(traits["answer"].tolist())) == 1
    assert traits["context"][0] != traits["context"][1] and traits["context"][0] == traits["context"][2]
    assert traits["row"][0] != traits["row"][1] and traits["row"][0] == traits["row"][2]
    assert traits["answer_chars"].tolist() == [11, 11, 11]


def test_parts_do_not_run_into_each_other() -> None:
    traits = compute_traits([answered("ab", "c"), answered("a", "bc"), pair("a", "b", "c"), pair("a", "c", "b")])
    assert len(set(traits["row"].tolist())) == 4


def test_labels_are_part_of_the_row() -> None:
    good, bad = (answered("a", "b", label=label) for label in (True, False))
    traits = compute_traits([replace(good, kind="feedback"), replace(bad, kind="feedback")])
    assert traits["label"][0] != traits["label"][1] and traits["row"][0] != traits["row"][1]
    assert traits["context"][0] == traits["context"][1]


def test_a_call_of_a_tool_has_no_skeleton() -> None:
    call = Message(role="assistant", content="", tool_calls=(ToolCall(name="add", arguments={"a": 1}),))
    asked = Conversation(messages=(Message(role="user", content="Add."), call))
    traits = compute_traits([Example(kind="supervised", source=source(0), conversation=asked)])
    assert traits["skeleton"][0] == traits["skeleton_letters"][0] == 0 and traits["answer"][0] != 0
    assert Flag(int(traits["flags"][0])) is Flag.CALLS_TOOL


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("The order of Bob has 12 items.", "The order of Mary-Ann Smith has 7 items."),
        ('He said "no" twice', 'He said "by all means" twice'),
        ("look at orders_2024 first", "look at the_customers first"),
        ("订单 A17 已经寄出，请注意查收。", "订单 B2 已经寄出，请注意查收。"),
        ("我们在《红楼梦》里读到的", "我们在《西游记》里读到的"),
        ("2023年的销售额为500万元", "2024年的销售额为71万元"),
        ("заказ для Ивана уже готов", "заказ для Марии уже готов"),
    ],
)
def test_names_numbers_and_quotations_leave_the_skeleton(first: str, second: str) -> None:
    assert skeleton_of(first) == skeleton_of(second) != ""
    assert skeleton_of(first) != skeleton_of(first + " but not so")


def test_letters_are_counted_not_signs() -> None:
    assert num_letters('{: [ ab, c ] }"') == 3 and num_letters("12 三") == 3


@pytest.mark.parametrize(
    "text", ["todo", "n/a", "...", "[insert answer here]", "<Your answer>", "Answer goes here.", "待补充"]
)
def test_placeholders_are_known(text: str) -> None:
    assert is_placeholder(text)


@pytest.mark.parametrize(
    "text", ["No", "12", "positive", "Paris", "Your answer is right.", "x = 3", "无法", "The answer: 4"]
)
def test_short_answers_are_no_placeholders(text: str) -> None:
    assert not is_placeholder(text)


@pytest.mark.parametrize(
    "text", ["I'm sorry, but I can't do that.", "As an AI, I have no body.", "抱歉，我不能回答。", "I cannot say."]
)
def test_refusals_are_known(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize("text", ["I can help.", "The minister said: sorry.", "Canned fish.", "我能帮您。"])
def test_answers_are_no_refusals(text: str) -> None:
    assert not is_refusal(text)


def test_flags_of_answers() -> None:
    assert flags_of(answered("a", " ")) is Flag.EMPTY
    assert flags_of(answered("a", "I am {{name}}, made by {{author}}.")) is Flag.UNFILLED
    assert flags_of(answered("a", "TBD")) is Flag.PLACEHOLDER
    assert not flags_of(answered("a", r"\frac{{x}}{2} of \{1\}")) & Flag.PLACEHOLDER
    long = "the moon goes around the earth"
    assert flags_of(pair("a", f"Sure! Here it is: {long}.", long.upper())) is Flag.SAME_SUBSTANCE
    assert flags_of(pair("a", "Yes, that is so.", "Yes")) == 0
    assert flags_of(pair("a", "Gladly.", "I'm sorry, no.")) is Flag.REJECTED_REFUSAL
