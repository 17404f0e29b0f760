# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Pairs of whole conversations: chosen_messages and rejected_messages, which share their beginning.

LLaMA-Factory v1 writes them with typed blocks, TRL as `chosen` and `rejected`; messages may be in either notation.
"""

from collections.abc import Sequence
from dataclasses import replace

from tunesmith.core.types import Example, Message
from tunesmith.data.formats.base import Columns, Row, RowError, formats
from tunesmith.data.formats.dialogue import chat_example, preference_example
from tunesmith.data.formats.media import Medium, refuse_unplaced
from tunesmith.data.formats.turns import read_turns

_KEYS = ("chosen_messages", "rejected_messages")


@formats.register("pair")
def read_pair(row: Row, columns: Columns) -> Example:
    """Read one pair of conversations."""
    media: list[Medium] = []
    others: list[Medium] = []
    lists = zip(_KEYS, (media, others), strict=True)
    chosen, rejected = (
        read_turns(columns.required(row, key), f"column {columns.names[key]!r}", found) for key, found in lists
    )
    if others != media:
        refuse_unplaced(others)
    return pair_example(row, columns, chosen, [rejected], read=_KEYS, inline=media)


def pair_example(
    row: Row,
    columns: Columns,
    chosen: Sequence[Message],
    rejected: Sequence[Sequence[Message]],
    *,
    read: Sequence[str],
    inline: Sequence[Medium] = (),
) -> Example:
    """Build the pair of conversations: their common beginning is the prompt, what follows is compared."""
    length = min(shared_turns(chosen, other) for other in rejected)
    prompt = chat_example(row, columns, chosen[:length], read=read, inline=inline)
    return preference_example(prompt, chosen=chosen[length:], rejected=[other[length:] for other in rejected])


def shared_turns(chosen: Sequence[Message], rejected: Sequence[Message]) -> int:
    """Count the turns of the common prompt: the equal beginning that leaves an answer on both sides."""
    if not chosen or not rejected:
        raise RowError("data.messages_empty", "A conversation of the pair has no messages.", "Fill it, or remove it.")
    equal = 0
    shortest = min(len(chosen), len(rejected)) - 1
    while equal < shortest and _without_weight(chosen[equal]) == _without_weight(rejected[equal]):
        equal += 1
    if equal and chosen[equal].role == rejected[equal].role == "assistant":
        return equal
    raise RowError(
        "data.pair_unlike",
        f"The chosen and the rejected conversation differ from message {equal} on, which is no answer in both.",
        "Both conversations must begin with the same messages, and differ from an assistant turn on.",
    )


def _without_weight(message: Message) -> Message:
    return message if message.weight is None else replace(message, weight=None)
