# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Reads conversations as people and scripts write them: JSON in the form that `apply_chat_template` takes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

from tunesmith.core.errors import TunesmithError, refusal
from tunesmith.core.names import nearest
from tunesmith.core.types import Conversation, Message, Role, ToolCall

_ROLES = get_args(Role)


def read_json(path: Path) -> Any:
    """Read a JSON file, or refuse it with the reason."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise malformed(f"The file {path} cannot be read as JSON: {error}.", file=str(path)) from error


def read_messages(path: Path) -> tuple[list[dict[str, Any]], list[Any] | None]:
    """Read messages, and tools where the file is an object that holds both."""
    content = read_json(path)
    messages = content.get("messages") if isinstance(content, dict) else content
    tools = content.get("tools") if isinstance(content, dict) else None
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise malformed(f"The file {path} holds no list of messages.", file=str(path))
    return messages, tools


def to_conversation(messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None) -> Conversation:
    """Turn messages and tools into a conversation."""
    return Conversation(
        messages=tuple(_to_message(number, message) for number, message in enumerate(messages)),
        tools=tuple(tools or ()),
    )


def malformed(message: str, **where: Any) -> TunesmithError:
    """Refuse what is no conversation."""
    remedy = 'Write a list of messages, e.g. [{"role": "user", "content": "Hi"}], as apply_chat_template takes it.'
    return refusal("template.messages_malformed", message, remedy, **where)


def _to_message(number: int, message: Mapping[str, Any]) -> Message:
    role = message.get("role")
    if role not in _ROLES:
        known = ", ".join(_ROLES)
        raise malformed(f"Message {number} has the role {role!r}; known are {known}." + nearest(str(role), _ROLES))
    reasoning = message.get("reasoning_content", message.get("reasoning", message.get("thinking")))
    weight = message.get("weight", message.get("loss"))
    return Message(
        role=cast(Role, role),
        content=_to_text(number, message.get("content")),
        reasoning=reasoning if isinstance(reasoning, str) else None,
        tool_calls=tuple(_to_call(number, call) for call in message.get("tool_calls") or ()),
        name=message.get("name"),
        weight=float(weight) if weight is not None else None,
    )


def _to_text(number: int, content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    blocks = content if isinstance(content, list) else [content]
    texts = [block.get("text") if isinstance(block, dict) and block.get("type") == "text" else None for block in blocks]
    if any(not isinstance(text, str) for text in texts):
        raise malformed(f"The content of message {number} holds blocks that are no text; only --raw renders them.")
    return "".join(text for text in texts if text is not None)


def _to_call(number: int, call: Any) -> ToolCall:
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise malformed(f"Message {number} holds a tool call without a function name.")
    arguments = function.get("arguments", {})
    return ToolCall(
        name=function["name"],
        arguments=arguments if isinstance(arguments, (dict, str)) else json.dumps(arguments),
        call_id=call.get("id"),
    )
