# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Mistral: `[TOOL_CALLS]` before a JSON list, or before each call with its arguments behind `[ARGS]`."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.core.types import ToolCall
from tunesmith.templates.tools.base import (
    ArgumentTypes,
    ParsedAnswer,
    WritingFormat,
    arguments_of,
    collect,
    read_arguments,
    read_calls,
    to_json,
    tool_formats,
)

_MARK = "[TOOL_CALLS]"
_NAMED = re.compile(
    r"\s*\[TOOL_CALLS\](?P<name>[^\[\]{}]+)(?:\[CALL_ID\](?P<id>[^\[]*))?\[ARGS\](?P<arguments>.*?)"
    r"(?=\[TOOL_CALLS\]|\Z)",
    re.DOTALL,
)


@tool_formats.register("mistral")
class MistralFormat(WritingFormat):
    """Both of Mistral's layouts are read; the list is written."""

    def parse(self, text: str, types: ArgumentTypes) -> ParsedAnswer | None:
        named = collect(_NAMED, text, _read_named)
        if named is not None:
            return named
        before, mark, after = text.partition(_MARK)
        calls = read_calls(after) if mark else []
        return ParsedAnswer(content=before.rstrip(), calls=tuple(calls)) if calls else None

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        wrapped = [{"type": "function", "function": tool} for tool in tools]
        return f"[AVAILABLE_TOOLS] {to_json(wrapped)}[/AVAILABLE_TOOLS]"

    def write_calls(self, calls: Sequence[ToolCall]) -> str:
        return f"{_MARK} " + to_json([{"name": call.name, "arguments": arguments_of(call)} for call in calls])

    def write_result(self, content: str) -> str:
        return f'[TOOL_RESULTS] {{"content": {_json_or_text(content)}}}[/TOOL_RESULTS]'


def _read_named(match: re.Match[str]) -> list[ToolCall]:
    arguments = read_arguments(match["arguments"])
    return (
        [ToolCall(name=match["name"].strip(), arguments=arguments, call_id=match["id"])]
        if arguments is not None
        else []
    )


def _json_or_text(content: str) -> str:
    try:
        json.loads(content)
    except json.JSONDecodeError:
        return to_json(content)
    return content
