# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Llama 3 and 4, Cogito: the whole answer is JSON, behind an optional mark; and Llama's Python-like lists."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.core.types import ToolCall
from tunesmith.templates.tools.base import (
    ArgumentTypes,
    ParsedAnswer,
    WritingFormat,
    arguments_of,
    read_calls,
    to_json,
    tool_formats,
)

_MARKS = re.compile(r"\A\s*(?:<\|python_tag\|>|<\|python_start\|>)?(?P<before>[^\[{]*?)(?:<\|python_end\|>)?(?=[\[{])")


@tool_formats.register("llama3")
@tool_formats.register("llama4")
class Llama3Format(WritingFormat):
    """`{"name": …, "parameters": …}`, several in a list or in a row."""

    def parse(self, text: str, types: ArgumentTypes) -> ParsedAnswer | None:
        match = _MARKS.match(text)
        if match is None or match["before"].strip():
            return None
        calls = read_calls(text[match.end() :].removesuffix("<|python_end|>"))
        return ParsedAnswer(content="", calls=tuple(calls)) if calls else None

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        lines = "\n\n".join(_indented({"type": "function", "function": tool}) for tool in tools)
        return (
            "\n\nYou have access to the following functions. To call a function, please respond with JSON for a "
            'function call. Respond in the format {"name": function name, "parameters": dictionary of argument name '
            f"and its value}}. Do not use variables.\n\n{lines}\n\n"
        )

    def write_calls(self, calls: Sequence[ToolCall]) -> str:
        objects = [{"name": call.name, "parameters": arguments_of(call)} for call in calls]
        return to_json(objects[0] if len(objects) == 1 else objects)


def _indented(value: Any, depth: int = 0) -> str:
    """Write JSON with four spaces a level, as Llama's template does."""
    if isinstance(value, Mapping) and value:
        inner = ",\n".join(
            f"{' ' * 4 * (depth + 1)}{to_json(key)}: {_indented(item, depth + 1)}" for key, item in value.items()
        )
        return f"{{\n{inner}\n{' ' * 4 * depth}}}"
    if isinstance(value, list) and value:
        inner = ",\n".join(f"{' ' * 4 * (depth + 1)}{_indented(item, depth + 1)}" for item in value)
        return f"[\n{inner}\n{' ' * 4 * depth}]"
    return to_json(value)
