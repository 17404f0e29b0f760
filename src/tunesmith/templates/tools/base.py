# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The contract of a tool format: calls out of an answer's text, and for templates without tools also into it.

A format knows text only; which one a template speaks is found by trying (habits.py) or named by `tool_format`.
"""

import ast
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tunesmith.core.registry import Registry
from tunesmith.core.types import ToolCall

# Tool → parameter → JSON type; formats that write values as bare text read them by it.
ArgumentTypes = Mapping[str, Mapping[str, str]]

_PYTHON_WORDS = ("True", "False", "None")


@dataclass(frozen=True, kw_only=True)
class ParsedAnswer:
    """An answer's text without its calls, and the calls."""

    content: str
    calls: tuple[ToolCall, ...]


class ToolFormat(ABC):
    """One way to write tool calls.

    `marks` occur in the text of templates that describe tools for it and leave the calls to the content.
    """

    marks: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def parse(self, text: str, types: ArgumentTypes) -> ParsedAnswer | None:
        """Take the calls out of an answer, or give None where it holds none in this format."""


class WritingFormat(ToolFormat):
    """A format that can also be written by templates which know no tools."""

    @abstractmethod
    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        """Write the tools (plain function descriptions) as text for the system message."""

    @abstractmethod
    def write_calls(self, calls: Sequence[ToolCall]) -> str:
        """Write calls as the text of an answer."""

    def write_result(self, content: str) -> str:
        """Write a tool's result as the text of a message."""
        return content


tool_formats: Registry[type[ToolFormat]] = Registry(
    "tool format", "tunesmith.templates.tools", code="template.tool_format_unknown"
)


def types_of(tools: Iterable[Mapping[str, Any]]) -> ArgumentTypes:
    """Read the types of all parameters from tool descriptions; those without a plain type are left out."""
    types: dict[str, dict[str, str]] = {}
    for tool in map(function_of, tools):
        parameters = tool.get("parameters")
        properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
        if isinstance(properties, Mapping):
            kinds = {key: value.get("type") for key, value in properties.items() if isinstance(value, Mapping)}
            types[str(tool.get("name"))] = {key: kind for key, kind in kinds.items() if isinstance(kind, str)}
    return types


def function_of(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give the description of a function, out of OpenAI's wrapping where it has one."""
    function = tool.get("function")
    return function if isinstance(function, Mapping) else tool


def collect(
    pattern: re.Pattern[str], text: str, read: Callable[[re.Match[str]], Sequence[ToolCall]]
) -> ParsedAnswer | None:
    """Take out every match that `read` makes calls of; what it does not understand stays in the text."""
    calls: list[ToolCall] = []

    def take(match: re.Match[str]) -> str:
        found = read(match)
        calls.extend(found)
        return "" if found else match.group()

    content = pattern.sub(take, text)
    return ParsedAnswer(content=content, calls=tuple(calls)) if calls else None


def read_calls(text: str) -> list[ToolCall]:
    """Read calls from JSON: one object, a list, or several in a row; an empty list where it is anything else."""
    values = read_values(text)
    if values is None:
        return []
    items = [item for value in values for item in (value if isinstance(value, list) else [value])]
    calls = [to_call(item) for item in items]
    return [call for call in calls if call is not None] if all(calls) else []


def read_values(text: str) -> list[Any] | None:
    """Read JSON values that stand in a row, with white space or semicolons between them."""
    decoder = json.JSONDecoder()
    values: list[Any] = []
    position = 0
    while rest := text[position:].lstrip(" \t\r\n;"):
        position = len(text) - len(rest)
        try:
            value, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError:
            return None
        values.append(value)
    return values


def to_call(item: Any) -> ToolCall | None:
    """Make a call of a JSON object with a name and arguments, whichever of the usual names they have."""
    if not isinstance(item, Mapping):
        return None
    given = function_of(item)
    name = given.get("name", given.get("tool_name"))
    arguments = given.get("arguments", given.get("parameters", {}))
    call_id = item.get("id")
    if not isinstance(name, str) or not isinstance(arguments, (Mapping, str)):
        return None
    return ToolCall(name=name, arguments=arguments, call_id=call_id if isinstance(call_id, str) else None)


def read_arguments(text: str) -> Mapping[str, Any] | None:
    """Read a JSON object of arguments, or give None."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def to_value(text: str, kind: str | None) -> Any:
    """Read a bare argument: text where the tool says so, else JSON or Python's literals where it is such."""
    if kind == "string":
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return _python_literal(text)


def _python_literal(text: str) -> Any:
    """Read what a template wrote of an object without `tojson`; anything else stays text."""
    if text in _PYTHON_WORDS or text[:1] in ("{", "["):
        try:
            return ast.literal_eval(text)
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return text
    return text


def arguments_of(call: ToolCall) -> Mapping[str, Any]:
    """Give a call's arguments as an object; a source's JSON text that is none stands under its own name."""
    if not isinstance(call.arguments, str):
        return call.arguments
    value = read_arguments(call.arguments)
    return value if value is not None else {"arguments": call.arguments}


def to_json(value: Any) -> str:
    """Write JSON as chat templates do."""
    return json.dumps(value, ensure_ascii=False)


def to_text(value: Any) -> str:
    """Write a bare argument: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else to_json(value)
