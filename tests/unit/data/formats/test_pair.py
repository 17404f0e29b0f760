# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Pairs of whole conversations are split where they part, and refused where they part before an answer."""

from typing import Any

import pytest

from tests.unit.data.rows import read, refused, turns


def said(*texts: str, weight: float | None = None) -> list[dict[str, Any]]:
    roles = ("user", "assistant") * len(texts)
    blocks = [[{"type": "text", "value": text}] for text in texts]
    pairs = zip(roles, blocks, strict=False)
    return [{"role": role, "content": block} | ({"loss_weight": weight} if weight else {}) for role, block in pairs]


def test_the_common_beginning_is_the_prompt() -> None:
    row = {"chosen_messages": said("a", "b", "c", "d"), "rejected_messages": said("a", "b", "c", "e")}
    example = read("pair", row)
    assert turns(example) == [("user", "a"), ("assistant", "b"), ("user", "c")]
    assert (example.chosen[0].content, example.rejected[0][0].content) == ("d", "e")


def test_conversations_may_part_early_and_run_on() -> None:
    example = read("pair", {"chosen_messages": said("a", "b"), "rejected_messages": said("a", "x", "y", "z")})
    assert turns(example) == [("user", "a")]
    assert [message.content for message in example.rejected[0]] == ["x", "y", "z"]


def test_equal_conversations_differ_in_their_last_answer() -> None:
    example = read("pair", {"chosen_messages": said("a", "b"), "rejected_messages": said("a", "b")})
    assert turns(example) == [("user", "a")] and example.chosen == example.rejected[0]


@pytest.mark.parametrize(
    ("chosen", "rejected", "code"),
    [
        (said("a", "b"), said("z", "b"), "data.pair_unlike"),
        (said("a", "b", "c", "d"), said("a", "b", "z", "d"), "data.pair_unlike"),
        (said("a", "b"), [], "data.messages_empty"),
        (said("a"), said("a", "b"), "data.pair_unlike"),
    ],
)
def test_pairs_that_share_no_prompt_are_refused(
    chosen: list[dict[str, Any]], rejected: list[dict[str, Any]], code: str
) -> None:
    assert refused("pair", {"chosen_messages": chosen, "rejected_messages": rejected}).code == code
