# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""OpenAI messages: role and content, tool_calls, tool results, reasoning, and contents made of typed blocks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunesmith.core.types import Example, Message, Role, ToolCall
from tunesmith.data.formats.base import Columns, Row, RowError, as_text, describe, formats
from tunesmith.data.formats.dialogue import (
    chat_example,
    parse_json,
    read_call,
    read_message_list,
    read_weight,
    unknown_role,
)

_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_REASONING_BLOCKS = ("reasoning", "thinking")


@formats.register("openai")
def read_openai(row: Row, columns: Columns) -> Example:
    """Read one row of OpenAI messages."""
    values = read_message_list(columns.required(row, "messages"), columns.names["messages"])
    return chat_example(row, columns, [_read_message(value, columns.tags) for value in values])


@dataclass
class _Content:
    """What the blocks of one message add up to."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)


def _read_message(value: Mapping[str, Any], tags: Mapping[str, str]) -> Message:
    role = _read_role(value, tags)
    content = _read_content(value.get(tags["content_tag"]))
    reasoning = value.get("reasoning_content")
    if reasoning is not None:
        content.reasoning.append(as_text(reasoning, "reasoning_content"))
    calls = value.get("tool_calls")
    if calls:
        content.calls.extend(read_call(call) for call in read_message_list(calls, "tool_calls"))
    name = value.get("name")
    return Message(
        role=role,
        content="".join(content.text),
        reasoning="\n".join(content.reasoning) if content.reasoning else None,
        tool_calls=tuple(content.calls),
        name=name if isinstance(name, str) else None,
        weight=read_weight(value),
    )


def _read_role(value: Mapping[str, Any], tags: Mapping[str, str]) -> Role:
    """Find the role; the words of the tags count beside OpenAI's own."""
    named = {tags["user_tag"]: "user", tags["assistant_tag"]: "assistant", tags["system_tag"]: "system"}
    roles = {**{word: _ROLES[role] for word, role in named.items()}, tags["observation_tag"]: _ROLES["tool"], **_ROLES}
    role = value.get(tags["role_tag"])
    if not isinstance(role, str) or role not in roles:
        raise unknown_role(role, list(_ROLES))
    return roles[role]


def _read_content(value: Any) -> _Content:
    content = _Content()
    if isinstance(value, list):
        for block in value:
            _read_block(block, content)
    elif value is not None:
        content.text.append(as_text(value, "the content of a message"))
    return content


def _read_block(block: Any, content: _Content) -> None:
    """Read a block {type, text} or {type, value}; text, reasoning and tool calls are known."""
    if not isinstance(block, Mapping):
        raise RowError(
            "data.type_wrong",
            f"A content block must be an object, found {describe(block) if not isinstance(block, str) else 'text'}.",
            'Write it as {"type": "text", "text": …}.',
        )
    kind = block.get("type")
    text = block.get("text", block.get("value", block.get(str(kind))))
    if kind == "text":
        content.text.append(as_text(text, "a text block"))
    elif kind in _REASONING_BLOCKS:
        content.reasoning.append(as_text(text, f"a {kind} block"))
    elif kind == "tool_call":
        call = parse_json(text, "a tool call", "data.tool_call_malformed") if isinstance(text, str) else text
        content.calls.append(read_call(call))
    else:
        raise RowError(
            "data.block_unsupported",
            f"A content block has the type {kind!r}; text, reasoning, thinking and tool_call can be trained on.",
            "Remove the block, or the row.",
        )
