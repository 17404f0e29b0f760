# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""OpenAI messages: role and content, tool_calls, tool results, reasoning, and contents made of typed blocks.

LLaMA-Factory v1's messages (typed blocks with `value`, `loss_weight`) and Anthropic's tool blocks are read here too.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from tunesmith.core.types import Example, Message, Role
from tunesmith.data.formats.base import Columns, Row, as_text, formats
from tunesmith.data.formats.content import Content, read_blocks
from tunesmith.data.formats.dialogue import (
    chat_example,
    preference_example,
    read_compared,
    read_weight,
    unknown_role,
)
from tunesmith.data.formats.media import Medium
from tunesmith.data.formats.tool_calls import message_of_calls, read_call
from tunesmith.data.formats.values import read_object_list

ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}


@formats.register("openai")
def read_openai(row: Row, columns: Columns) -> Example:
    """Read one row of OpenAI messages."""
    media: list[Medium] = []
    read = partial(read_message, roles=roles_of(columns.tags), tags=columns.tags, media=media)
    messages = read_messages(columns.required(row, "messages"), f"column {columns.names['messages']!r}", read)
    if columns.ranking:
        example = chat_example(row, columns, messages, read=("messages", "chosen", "rejected"), inline=media)
        chosen, rejected = read_compared(row, columns, lambda value: read(value)[-1])
        return preference_example(example, chosen=chosen, rejected=rejected)
    return chat_example(row, columns, messages, read=("messages",), inline=media)


def read_messages(value: Any, what: str, read: "partial[list[Message]]") -> list[Message]:
    """Read a list of message objects; one object may hold the results of several tools."""
    return [message for item in read_object_list(value, what) for message in read(item)]


def roles_of(tags: Mapping[str, str]) -> dict[str, Role]:
    """Give word → role; the words of the tags count beside OpenAI's own."""
    named = {tags["user_tag"]: "user", tags["assistant_tag"]: "assistant", tags["system_tag"]: "system"}
    return {**{word: ROLES[role] for word, role in named.items()}, tags["observation_tag"]: "tool", **ROLES}


def read_message(
    value: Mapping[str, Any], *, roles: Mapping[str, Role], tags: Mapping[str, str], media: list[Medium]
) -> list[Message]:
    """Read one message object; tool results within a user turn become tool turns of their own."""
    word = value.get(tags["role_tag"])
    role = roles.get(word) if isinstance(word, str) else None
    content = read_blocks(value.get(tags["content_tag"]), media)
    if role is None:
        if word == tags["function_tag"]:
            return [message_of_calls(content.whole_text, read_weight(value, "assistant"))]
        raise unknown_role(word, [*roles, tags["function_tag"]])
    results = [Message(role="tool", content=text) for text in content.results]
    message = to_message(value, role, content)
    is_empty = not (message.content or message.tool_calls or message.reasoning)
    return results if results and is_empty else [*results, message]


def to_message(value: Mapping[str, Any], role: Role, content: Content) -> Message:
    """Put content, reasoning, tool calls, name and weight of a message object together."""
    reasoning = value.get("reasoning_content", value.get("reasoning"))
    if reasoning is not None:
        content.reasoning.append(as_text(reasoning, "reasoning_content"))
    calls = value.get("tool_calls")
    if calls:
        content.calls.extend(read_call(call) for call in read_object_list(calls, "tool_calls"))
    if value.get("function_call"):
        content.calls.append(read_call(value["function_call"]))
    name = value.get("name")
    return Message(
        role=role,
        content=content.whole_text,
        reasoning="\n".join(content.reasoning) if content.reasoning else None,
        tool_calls=tuple(content.calls),
        name=name if isinstance(name, str) else None,
        weight=read_weight(value, role),
    )
