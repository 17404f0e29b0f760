# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Tool descriptions and tool calls in the shapes that data sets write them in."""

import json
import re
from collections.abc import Mapping
from typing import Any

from tunesmith.core.types import Message, ToolCall
from tunesmith.data.formats.base import RowError, describe
from tunesmith.data.formats.values import describe_list, parse_json

_THOUGHT = re.compile(r"\A\s*<think>(.*?)</think>\s*", re.DOTALL)
_WRAPPED_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)


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


def message_of_calls(text: str, weight: float | None = None) -> Message:
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
    return Message(role="assistant", content=content, reasoning=reasoning, tool_calls=tuple(calls), weight=weight)


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
