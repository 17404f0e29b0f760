# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The validation split has the size asked for, follows the seed, and never parts rows of one prompt."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.core.types import Conversation, Example, Message, RowRef
from tunesmith.data.split import prompt_key, split_examples


def make(row: int, prompt: str, answer: str = "x", system: str | None = None) -> Example:
    messages = [Message(role="user", content=prompt), Message(role="assistant", content=answer)]
    if system is not None:
        messages.insert(0, Message(role="system", content=system))
    return Example(
        kind="supervised",
        source=RowRef(dataset="d", file="f", row=row),
        conversation=Conversation(messages=tuple(messages)),
    )


@pytest.mark.parametrize(("val_size", "expected"), [(0.1, 10), (0.25, 25), (1, 1), (7, 7), (0.001, 1)])
def test_the_size_is_a_share_or_a_count(val_size: float, expected: int) -> None:
    train, held_out = split_examples([make(row, f"p{row}") for row in range(100)], val_size, seed=0)
    assert (len(train), len(held_out)) == (100 - expected, expected)


def test_the_split_follows_the_seed() -> None:
    examples = [make(row, f"p{row}") for row in range(50)]
    assert split_examples(examples, 0.2, seed=1) == split_examples(examples, 0.2, seed=1)
    assert split_examples(examples, 0.2, seed=1) != split_examples(examples, 0.2, seed=2)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=2, max_size=40), st.floats(0.05, 0.6), st.integers(0, 3))
def test_prompts_stay_together_and_no_row_is_lost(prompts: list[int], val_size: float, seed: int) -> None:
    examples = [make(row, f"p{prompt}", answer=str(row)) for row, prompt in enumerate(prompts)]
    train, held_out = split_examples(examples, val_size, seed=seed)
    assert sorted(train + held_out, key=lambda example: example.source) == examples
    assert held_out
    assert not {prompt_key(example) for example in train} & {prompt_key(example) for example in held_out}


def test_system_prompts_do_not_make_prompts_differ() -> None:
    assert prompt_key(make(0, "p", system="a")) == prompt_key(make(1, "p", "y", system="b"))
    assert prompt_key(make(0, "p")) != prompt_key(make(0, "q"))


def test_conversations_that_only_begin_alike_have_different_prompts() -> None:
    begun = [Message(role="user", content="hi"), Message(role="assistant", content="x")]
    keys = set()
    for question in ("one", "two"):
        conversation = Conversation(messages=(*begun, *_asked(make(0, question))))
        source = RowRef(dataset="d", file="f", row=0)
        keys.add(prompt_key(Example(kind="supervised", source=source, conversation=conversation)))
    assert len(keys) == 2


def _asked(example: Example) -> tuple[Message, ...]:
    assert example.conversation is not None
    return example.conversation.messages
