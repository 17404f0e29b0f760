# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""DeepSeek: V3 and R1 with a fenced JSON block, V3.1 with the bare JSON, both between their own marks."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.core.types import ToolCall
from tunesmith.templates.tools.base import (
    ArgumentTypes,
    ParsedAnswer,
    ToolFormat,
    WritingFormat,
    arguments_of,
    collect,
    read_arguments,
    to_json,
    tool_formats,
)

# The closing marks are optional: the first release's template left them out after a single call.
_BEGIN = r"\n*(?:<｜tool▁calls▁begin｜>)?\s*<｜tool▁call▁begin｜>"
_END = r"(?:<｜tool▁call▁end｜>)?(?:\s*<｜tool▁calls▁end｜>)?"


@tool_formats.register("deepseek_v3")
class DeepSeekV3Format(ToolFormat):
    """`type`, separator, `name`, and a fenced block of JSON."""

    _CALL = re.compile(
        _BEGIN + r"\w+<｜tool▁sep｜>(?P<name>[^\n]+)\n```(?:json)?\n(?P<arguments>.*?)\n```" + _END, re.DOTALL
    )

    def parse(self, text: str, types: ArgumentTypes) -> ParsedAnswer | None:
        return collect(self._CALL, text, _read)


@tool_formats.register("deepseek_v3_1")
class DeepSeekV31Format(WritingFormat):
    """`name`, separator, JSON."""

    _CALL = re.compile(
        _BEGIN
        + r"(?P<name>[^<\n]+)<｜tool▁sep｜>(?P<arguments>\{.*?\})\s*<｜tool▁call▁end｜>(?:\s*<｜tool▁calls▁end｜>)?",
        re.DOTALL,
    )

    def parse(self, text: str, types: ArgumentTypes) -> ParsedAnswer | None:
        return collect(self._CALL, text, _read)

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        parts = [
            f"\n\n### {tool.get('name', '')}\nDescription: {tool.get('description', '')}\n\nParameters: "
            f"{to_json(tool.get('parameters', {}))}"
            for tool in tools
        ]
        return (
            "\n\n## Tools\nYou have access to the following tools:"
            + "".join(parts)
            + "\n\nIMPORTANT: ALWAYS adhere to "
            "this exact format for tool use:\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>tool_call_name<｜tool▁sep｜>"
            "tool_call_arguments<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
        )

    def write_calls(self, calls: Sequence[ToolCall]) -> str:
        parts = [
            f"<｜tool▁call▁begin｜>{call.name}<｜tool▁sep｜>{to_json(arguments_of(call))}<｜tool▁call▁end｜>"
            for call in calls
        ]
        return f"<｜tool▁calls▁begin｜>{''.join(parts)}<｜tool▁calls▁end｜>"

    def write_result(self, content: str) -> str:
        return f"<｜tool▁output▁begin｜>{content}<｜tool▁output▁end｜>"


def _read(match: re.Match[str]) -> list[ToolCall]:
    arguments = read_arguments(match["arguments"])
    return [ToolCall(name=match["name"].strip(), arguments=arguments)] if arguments is not None else []
