# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""ShareGPT rows: a list of messages whose keys and role names are given by tags; tool calls and results are turns."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from tunesmith.core.types import Example, Message, Role
from tunesmith.data.formats.base import Columns, Row, RowError, formats
from tunesmith.data.formats.content import read_blocks
from tunesmith.data.formats.dialogue import (
    chat_example,
    preference_example,
    read_compared,
    read_weight,
    unknown_role,
)
from tunesmith.data.formats.media import Medium
from tunesmith.data.formats.tool_calls import message_of_calls
from tunesmith.data.formats.values import read_object_list

_ROLES: Mapping[str, Role] = {
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "tool",
    "system_tag": "system",
}


@formats.register("sharegpt")
def read_sharegpt(row: Row, columns: Columns) -> Example:
    """Read one sharegpt row."""
    values = read_object_list(columns.required(row, "messages"), f"column {columns.names['messages']!r}")
    media: list[Medium] = []
    read_turn = partial(_read_turn, tags=columns.tags, media=media)
    messages = [read_turn(value) for value in values]
    if columns.ranking:
        example = chat_example(row, columns, messages, read=("messages", "chosen", "rejected"), inline=media)
        chosen, rejected = read_compared(row, columns, read_turn)
        return preference_example(example, chosen=chosen, rejected=rejected)
    return chat_example(row, columns, messages, read=("messages",), inline=media)


def _read_turn(value: Mapping[str, Any], *, tags: Mapping[str, str], media: list[Medium]) -> Message:
    """Read one message object by the names that the tags give."""
    for tag in ("role_tag", "content_tag"):
        if tags[tag] not in value:
            raise _missing_key(value, tags[tag], tag)
    word = value[tags["role_tag"]]
    content = read_blocks(value[tags["content_tag"]], media, f"the content of a {word!r} turn")
    if word == tags["function_tag"]:
        return message_of_calls(content.whole_text, read_weight(value, "assistant"))
    role = next((role for tag, role in _ROLES.items() if word == tags[tag]), None)
    if role is None:
        raise unknown_role(word, [tags[tag] for tag in tags if tag not in ("role_tag", "content_tag")])
    return Message(
        role=role,
        content=content.whole_text,
        reasoning="\n".join(content.reasoning) if content.reasoning else None,
        tool_calls=tuple(content.calls),
        weight=read_weight(value, role),
    )


def _missing_key(value: Mapping[str, Any], name: str, tag: str) -> RowError:
    return RowError(
        "data.column_missing",
        f"A message has no {name!r}; it has {', '.join(map(repr, value)) or 'no keys'}.",
        f'Name the right key in dataset_info.json: "tags": {{"{tag}": …}}.',
    )
