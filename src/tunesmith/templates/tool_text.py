# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Writes tools, calls and results into the texts of a conversation, for templates that know no tools themselves."""

from dataclasses import replace

from tunesmith.core.types import Conversation, Message
from tunesmith.templates.tools.base import WritingFormat, function_of


def write_calls(conversation: Conversation, written_as: WritingFormat) -> Conversation:
    """Write only the calls, for templates that describe tools and leave calls to the content."""
    return replace(conversation, messages=tuple(_with_calls(message, written_as) for message in conversation.messages))


def write_tools(conversation: Conversation, written_as: WritingFormat, *, has_tool_role: bool) -> Conversation:
    """Give the same conversation without tools in structures.

    The descriptions go behind the system text; calls behind the answer's content; results become messages of the tool
    role where the template has one, else of the user's.
    """
    messages = list(conversation.messages)
    if conversation.tools:
        described = written_as.describe([function_of(tool) for tool in conversation.tools])
        if messages and messages[0].role == "system":
            messages[0] = replace(messages[0], content=messages[0].content + described)
        else:
            messages.insert(0, Message(role="system", content=described.lstrip("\n")))
    written = [_written(message, written_as, has_tool_role) for message in messages]
    return Conversation(messages=tuple(written))


def _written(message: Message, written_as: WritingFormat, has_tool_role: bool) -> Message:
    if message.role == "tool":
        return replace(
            message, role="tool" if has_tool_role else "user", content=written_as.write_result(message.content)
        )
    return _with_calls(message, written_as)


def _with_calls(message: Message, written_as: WritingFormat) -> Message:
    if not message.tool_calls:
        return message
    calls = written_as.write_calls(message.tool_calls)
    content = f"{message.content}\n{calls}" if message.content else calls
    return replace(message, content=content, tool_calls=())
