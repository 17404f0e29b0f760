# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Gemma 4: `call:name{key:value,…}` with strings between marks of their own."""

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
    tool_formats,
)

_QUOTE = '<|"|>'


@tool_formats.register("gemma4")
class Gemma4Format(WritingFormat):
    """`<|tool_call>call:name{…}<tool_call|>`, keys bare and sorted."""

    _CALL = re.compile(r"\n*<\|tool_call>call:(?P<name>[\w.-]+)(?P<arguments>\{.*?\})<tool_call\|>", re.DOTALL)

    def parse(self, text: str, types: ArgumentTypes) -> ParsedAnswer | None:
        def read(match: re.Match[str]) -> list[ToolCall]:
            arguments = read_arguments(_to_json_text(match["arguments"]))
            return [ToolCall(name=match["name"], arguments=arguments)] if arguments is not None else []

        return collect(self._CALL, text, read)

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        return "".join(f"<|tool>declaration:{_declared(tool)}<tool|>" for tool in tools)

    def write_calls(self, calls: Sequence[ToolCall]) -> str:
        return "".join(f"<|tool_call>call:{call.name}{_written(arguments_of(call))}<tool_call|>" for call in calls)


def _declared(tool: Mapping[str, Any]) -> str:
    rest = {key: _with_upper_types(value) for key, value in tool.items() if key in ("description", "parameters")}
    return f"{tool.get('name', '')}{_written(rest, is_sorted=False)}"


def _with_upper_types(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: item.upper() if key == "type" and isinstance(item, str) else _with_upper_types(item)
            for key, item in value.items()
        }
    return [_with_upper_types(item) for item in value] if isinstance(value, list) else value


def _written(value: Any, *, is_sorted: bool = True) -> str:
    if isinstance(value, Mapping):
        keys = sorted(value) if is_sorted else list(value)
        return "{" + ",".join(f"{key}:{_written(value[key], is_sorted=is_sorted)}" for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_written(item, is_sorted=is_sorted) for item in value) + "]"
    return f"{_QUOTE}{value}{_QUOTE}" if isinstance(value, str) else json.dumps(value)


def _to_json_text(text: str) -> str:
    """Turn the marks into JSON's quotation marks and quote the bare keys; text between marks is left alone."""
    parts = text.split(_QUOTE)
    outside = [re.sub(r"([{,]\s*)([\w.-]+)(\s*:)", r'\1"\2"\3', part) for part in parts[::2]]
    inside = [json.dumps(part) for part in parts[1::2]]
    pieces = [piece for pair in zip(outside, [*inside, ""], strict=False) for piece in pair]
    return "".join(pieces)
