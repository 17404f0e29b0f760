# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Qwen and Hermes: JSON between `<tool_call>` marks; `ling` differs by a line in the description."""

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
    read_calls,
    to_json,
    tool_formats,
)

_CALL = re.compile(r"\n*<tool_call>\s*(?P<call>.*?)\s*</tool_call>", re.DOTALL)


@tool_formats.register("qwen")
@tool_formats.register("hermes")
class QwenFormat(WritingFormat):
    """`<tool_call>` around one JSON object for each call."""

    marks = ("<tool_call>", "</tool_call>", "arguments")

    def parse(self, text: str, types: ArgumentTypes) -> ParsedAnswer | None:
        return collect(_CALL, text, lambda match: read_calls(match["call"]))

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        lines = "\n".join(to_json({"type": "function", "function": tool}) for tool in tools)
        return (
            "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
            f"You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n{lines}\n</tools>"
            "\n\nFor each function call, return a json object with function name and arguments within "
            '<tool_call></tool_call> XML tags:\n<tool_call>\n{"name": <function-name>, "arguments": '
            "<args-json-object>}\n</tool_call>"
        )

    def write_calls(self, calls: Sequence[ToolCall]) -> str:
        objects = [to_json({"name": call.name, "arguments": arguments_of(call)}) for call in calls]
        return "\n".join(f"<tool_call>\n{item}\n</tool_call>" for item in objects)


@tool_formats.register("ling")
class LingFormat(QwenFormat):
    """As Qwen's, with the switch of Ling's reasoning behind the description."""

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        return super().describe(tools) + "\ndetailed thinking off"
