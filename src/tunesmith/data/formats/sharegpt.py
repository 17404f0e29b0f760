# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""ShareGPT rows: a list of messages whose keys and role names are given by tags; tool calls and results are turns."""

from collections.abc import Mapping
from typing import Any

from tunesmith.core.types import Example, Message
from tunesmith.data.formats.base import Columns, Row, RowError, describe, formats
from tunesmith.data.formats.dialogue import (
    chat_example,
    message_of_calls,
    preference_example,
    read_content,
    read_message_list,
    read_weight,
    unknown_role,
)


@formats.register("sharegpt")
def read_sharegpt(row: Row, columns: Columns) -> Example:
    """Read one sharegpt row."""
    values = read_message_list(columns.required(row, "messages"), columns.names["messages"])
    messages = [read_turn(value, columns.tags) for value in values]
    if columns.ranking:
        answers = {key: _read_answer(columns.required(row, key), columns) for key in ("chosen", "rejected")}
        return preference_example(row, columns, messages, **answers)
    return chat_example(row, columns, messages)


def read_turn(value: Mapping[str, Any], tags: Mapping[str, str]) -> Message:
    """Read one message object by the names that the tags give."""
    for tag in ("role_tag", "content_tag"):
        if tags[tag] not in value:
            raise _missing_key(value, tags[tag], tag)
    role, weight = value[tags["role_tag"]], read_weight(value)
    content = read_content(value[tags["content_tag"]], f"the content of a {role!r} turn")
    if role == tags["function_tag"]:
        return message_of_calls(content)
    if role == tags["assistant_tag"]:
        return Message(role="assistant", content=content, weight=weight)
    if role == tags["user_tag"]:
        return Message(role="user", content=content)
    if role == tags["observation_tag"]:
        return Message(role="tool", content=content)
    if role == tags["system_tag"]:
        return Message(role="system", content=content)
    raise unknown_role(role, [tags[tag] for tag in tags if tag not in ("role_tag", "content_tag")])


def _missing_key(value: Mapping[str, Any], name: str, tag: str) -> RowError:
    return RowError(
        "data.column_missing",
        f"A message has no {name!r}; it has {', '.join(map(repr, value)) or 'no keys'}.",
        f'Name the right key in dataset_info.json: "tags": {{"{tag}": …}}.',
    )


def _read_answer(value: Any, columns: Columns) -> Message:
    """Read a chosen or rejected answer: a message object, a list that holds one, or plain text."""
    if isinstance(value, str):
        return Message(role="assistant", content=value)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, Mapping):
        raise RowError(
            "data.type_wrong",
            f"A chosen or rejected answer must be one message, found {describe(value)}.",
            "Write it as one message object.",
        )
    message = read_turn(value, columns.tags)
    if message.role != "assistant":
        raise RowError(
            "data.role_order_broken",
            f"A chosen or rejected answer is a {message.role} turn.",
            "Make it an assistant turn.",
        )
    return message
