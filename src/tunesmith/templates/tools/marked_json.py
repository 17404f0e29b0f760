# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Families that put JSON calls behind a mark of their own, and differ in nothing else."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from tunesmith.core.types import ToolCall
from tunesmith.templates.tools.base import (
    ArgumentTypes,
    ParsedAnswer,
    ToolFormat,
    WritingFormat,
    arguments_of,
    collect,
    read_calls,
    to_json,
    tool_formats,
)


class MarkedJsonFormat(ToolFormat):
    """JSON objects or lists where `pattern` finds them, in its group `calls`."""

    pattern: ClassVar[re.Pattern[str]]

    def parse(self, text: str, types: ArgumentTypes) -> ParsedAnswer | None:
        return collect(self.pattern, text, lambda match: read_calls(match["calls"]))


@tool_formats.register("jamba")
class JambaFormat(MarkedJsonFormat):
    """A JSON list between `<tool_calls>` marks."""

    pattern = re.compile(r"\n*<tool_calls>(?P<calls>\s*\[.*?\]\s*)</tool_calls>", re.DOTALL)


@tool_formats.register("minimax1")
class MiniMax1Format(MarkedJsonFormat, WritingFormat):
    """JSON lines between `<tool_calls>` marks."""

    pattern = re.compile(r"\n*<tool_calls>(?P<calls>.*?)</tool_calls>", re.DOTALL)

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        lines = "\n".join(to_json(dict(tool)) for tool in tools)
        return (
            "# Tools\nYou may call one or more functions to assist with the user query.\n\nYou are provided with "
            f"function signatures within <tools></tools> XML tags:\n<tools>\n{lines}\n</tools>\n\nIf you need to call "
            "tools, please respond with <tool_calls></tool_calls> XML tags, and provide tool-name and json-object of "
            'arguments, following the format below:\n<tool_calls>\n{"name": <tool-name>, "arguments": '
            "<args-json-object>}\n...\n</tool_calls>"
        )

    def write_calls(self, calls: Sequence[ToolCall]) -> str:
        lines = "\n".join(to_json({"name": call.name, "arguments": arguments_of(call)}) for call in calls)
        return f"<tool_calls>\n{lines}\n</tool_calls>"


@tool_formats.register("phi4_mini")
class Phi4MiniFormat(MarkedJsonFormat):
    """A JSON list between `<|tool_call|>` marks."""

    marks = ("<|tool|>", "<|/tool|>")
    pattern = re.compile(r"\n*<\|tool_call\|>(?P<calls>.*?)<\|/tool_call\|>", re.DOTALL)


@tool_formats.register("granite")
class GraniteFormat(MarkedJsonFormat):
    """A JSON list behind `<|tool_call|>`, or `<tool_call>` in the 3.0 release, up to the end of the answer."""

    pattern = re.compile(r"\n*(?:<\|tool_call\|>|<tool_call>)(?P<calls>\s*\[.*\]\s*)\Z", re.DOTALL)


@tool_formats.register("firefunction")
class FireFunctionFormat(MarkedJsonFormat):
    """A JSON list behind the word `functools`."""

    pattern = re.compile(r"\s*functools(?P<calls>\s*\[.*\])\s*\Z", re.DOTALL)


@tool_formats.register("internlm")
class InternLmFormat(MarkedJsonFormat):
    """One JSON object between the marks of an action of the plugin."""

    pattern = re.compile(r"\n*<\|action_start\|>\s*<\|plugin\|>(?P<calls>.*?)<\|action_end\|>", re.DOTALL)


@tool_formats.register("command_r")
class CommandRFormat(MarkedJsonFormat):
    """A JSON list in a fenced block behind `Action:`, or between the action marks of Command R7B and A."""

    pattern = re.compile(
        r"\s*(?:Action:\s*```(?:json)?|<\|START_ACTION\|>)(?P<calls>\s*\[.*?\]\s*)(?:```|<\|END_ACTION\|>)", re.DOTALL
    )
