# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What all chat formats share: the order of turns, tool descriptions, tool calls, and the kind of example they make."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from tunesmith.core.types import Conversation, Example, Message, RowKind, ToolCall
from tunesmith.data.formats.base import Columns, Row, RowError, as_text, describe, refuse_media

_THOUGHT = re.compile(r"\A\s*<think>(.*?)</think>\s*", re.DOTALL)
_WRAPPED_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
_ORDER_REMEDY = "After an optional system message, user (or tool) and assistant turns alternate; fix or remove the row."


def chat_example(row: Row, columns: Columns, messages: Sequence[Message]) -> Example:
    """Build the example of a conversation: supervised when it ends with an answer, else a prompt or a preference."""
    refuse_media(row, columns)
    system = columns.text(row, "system")
    if system and messages and messages[0].role != "system":
        messages = [Message(role="system", content=system), *messages]
    check_order(messages)
    conversation = Conversation(messages=tuple(messages), tools=read_tools(columns.optional(row, "tools")))
    if columns.optional(row, "kto_tag") is not None:
        return Example(kind="feedback", source=row.source, conversation=conversation, label=_read_label(row, columns))
    kind = "supervised" if messages[-1].role == "assistant" else "prompt"
    return Example(kind=cast(RowKind, kind), source=row.source, conversation=conversation)


def preference_example(
    row: Row, columns: Columns, messages: Sequence[Message], *, chosen: Message, rejected: Message
) -> Example:
    """Build the example of a preference pair: the shared prompt and its two answers."""
    prompt = chat_example(row, columns, messages)
    if prompt.kind != "prompt":
        raise RowError(
            "data.role_order_broken", "The shared prompt of a preference pair ends with an answer.", _ORDER_REMEDY
        )
    return Example(
        kind="preference",
        source=row.source,
        conversation=prompt.conversation,
        chosen=(chosen,),
        rejected=((rejected,),),
    )


def _read_label(row: Row, columns: Columns) -> bool:
    value = columns.required(row, "kto_tag")
    if isinstance(value, bool):
        return value
    raise RowError(
        "data.type_wrong",
        f"A feedback label must be true or false, found {value!r}.",
        "Write the label as a JSON truth value, without quotes.",
    )


def check_order(messages: Sequence[Message]) -> None:
    """Refuse turns in an order that no chat has: system first, then user or tool turns and answers in turn."""
    if not messages:
        raise RowError("data.messages_empty", "The conversation has no messages.", "Remove the row or fill it.")
    previous = None
    for position, message in enumerate(messages):
        allowed = _may_follow(previous)
        if message.role not in allowed:
            place = f"after {_named(previous)}" if previous else "at the start"
            raise RowError(
                "data.role_order_broken",
                f"Message {position} is {_named(message.role)} {place}; expected there: {' or '.join(allowed)}.",
                _ORDER_REMEDY,
            )
        previous = message.role
    if previous == "system":
        raise RowError("data.role_order_broken", "The conversation is a system message alone.", _ORDER_REMEDY)


def _may_follow(previous: str | None) -> tuple[str, ...]:
    if previous is None:
        return ("system", "user")
    followers = {"system": ("user",), "user": ("assistant",), "assistant": ("user", "tool")}
    return followers.get(previous, ("assistant", "tool"))


def _named(role: str | None) -> str:
    return f"{'an' if role == 'assistant' else 'a'} {role} turn"


def unknown_role(role: Any, known: Sequence[str]) -> RowError:
    """Say that a role is none of those known here."""
    return RowError(
        "data.role_unknown",
        f"Role {role!r} is unknown; known here: {', '.join(map(repr, known))}.",
        "Correct the row, or name your roles under `tags` in dataset_info.json.",
    )


def read_message_list(value: Any, name: str | None) -> list[Mapping[str, Any]]:
    """Take a list of message objects, or its JSON text, as tables hold it."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = parse_json(value, f"column {name!r}", "data.type_wrong")
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise RowError(
            "data.type_wrong",
            f"A list of messages is expected in column {name!r}, found {describe_list(value)}.",
            "Write it as a list of objects with a role and a content each.",
        )
    return value


def describe_list(value: Any) -> str:
    """Name the JSON type of a value, and of a list the first element that is no object."""
    if isinstance(value, list):
        odd = next((item for item in value if not isinstance(item, Mapping)), None)
        return f"a list with {describe_list(odd)} in it"
    return "text" if isinstance(value, str) else describe(value)


def parse_json(text: str, what: str, code: str) -> Any:
    """Parse JSON text of a cell, or say what is wrong with it."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise RowError(
            code, f"JSON is expected in {what}: {error.msg} at character {error.pos}.", "Correct the JSON."
        ) from error


def read_tools(value: Any) -> tuple[Mapping[str, Any], ...]:
    """Read tool descriptions: JSON text, a list or one object; bare functions are wrapped as OpenAI writes them."""
    if isinstance(value, str):
        value = parse_json(value, "the tools", "data.tools_malformed") if value.strip() else None
    if value is None:
        return ()
    tools = [value] if isinstance(value, Mapping) else value
    if not isinstance(tools, list) or not all(isinstance(tool, Mapping) for tool in tools):
        raise RowError(
            "data.tools_malformed",
            f"Tools must be a list of objects, found {describe_list(value)}.",
            "Write each tool as {name, description, parameters}.",
        )
    return tuple(_as_openai_tool(tool) for tool in tools)


def _as_openai_tool(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    if "function" in tool:
        return tool
    if "name" not in tool:
        raise RowError("data.tools_malformed", "A tool has no name.", "Write each tool as {name, description, …}.")
    return {"type": "function", "function": tool}


def message_of_calls(text: str) -> Message:
    """Read a function turn: JSON of one call or several, bare or in <tool_call> tags, a thought before it allowed."""
    thought = _THOUGHT.match(text)
    rest = text[thought.end() :] if thought else text
    wrapped = _WRAPPED_CALL.findall(rest)
    content = _WRAPPED_CALL.sub("", rest).strip() if wrapped else ""
    calls: list[ToolCall] = []
    for source in wrapped or [rest]:
        value = parse_json(source, "a tool call", "data.tool_call_malformed")
        calls.extend(read_call(call) for call in (value if isinstance(value, list) else [value]))
    if not calls:
        raise RowError("data.tool_call_malformed", "A function turn holds no call.", "Correct the row.")
    reasoning = thought.group(1).strip("\n") if thought else None
    return Message(role="assistant", content=content, reasoning=reasoning, tool_calls=tuple(calls))


def read_call(call: Any) -> ToolCall:
    """Read {name, arguments}, or OpenAI's {id, function: {name, arguments}}; arguments as object or JSON text."""
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise RowError(
            "data.tool_call_malformed",
            f"A tool call must be an object with a name and arguments, found {describe_list(call)}.",
            'Write it as {"name": …, "arguments": {…}}.',
        )
    call_id = call.get("id")
    arguments = _read_arguments(function.get("arguments"))
    return ToolCall(name=function["name"], arguments=arguments, call_id=call_id if isinstance(call_id, str) else None)


def _read_arguments(value: Any) -> Mapping[str, Any] | str:
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, str):
        raise RowError(
            "data.tool_call_malformed",
            f"Arguments of a tool call must be an object or its JSON text, found {describe(value)}.",
            'Write them as {"parameter": value}.',
        )
    try:
        parsed = json.loads(value)
    except json.JSONDecodeError:
        return value
    return parsed if isinstance(parsed, Mapping) else value


def read_weight(message: Mapping[str, Any]) -> float | None:
    """Read the loss weight that a message may carry."""
    value = message.get("loss_weight")
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0):
        return None if value is None else float(value)
    raise RowError("data.type_wrong", f"A loss_weight must be a number from 0, found {value!r}.", "Correct the row.")


def read_content(value: Any, what: str) -> str:
    """Read the content of a message as text; null is empty."""
    return "" if value is None else as_text(value, what)
