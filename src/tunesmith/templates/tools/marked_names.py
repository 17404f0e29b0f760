# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Families that write the name of a call in a mark and its arguments as JSON behind it."""

import re
from typing import ClassVar

from tunesmith.core.types import ToolCall
from tunesmith.templates.tools.base import (
    ArgumentTypes,
    ParsedAnswer,
    ToolFormat,
    collect,
    read_arguments,
    tool_formats,
)


class MarkedNameFormat(ToolFormat):
    """Calls where `pattern` finds a `name` and `arguments`, and perhaps an `id`."""

    pattern: ClassVar[re.Pattern[str]]

    def parse(self, text: str, types: ArgumentTypes) -> ParsedAnswer | None:
        return collect(self.pattern, text, _read)


@tool_formats.register("functionary")
class FunctionaryFormat(MarkedNameFormat):
    """Functionary 3.1: `<function=name>{…}</function>`."""

    pattern = re.compile(r"\n*<function=(?P<name>[^>\n]+)>(?P<arguments>.*?)</function>", re.DOTALL)


@tool_formats.register("functionary_v3_2")
class Functionary32Format(MarkedNameFormat):
    """Functionary 3.2: `>>>name`, a line feed, JSON; the first mark is part of the prompt."""

    pattern = re.compile(r"(?:\A|>>>)(?P<name>(?!all\n)[\w.-]+)\n(?P<arguments>\{.*?\})\s*(?=>>>|\Z)", re.DOTALL)

    def parse(self, text: str, types: ArgumentTypes) -> ParsedAnswer | None:
        parsed = super().parse(text, types)
        if parsed is None:
            return None
        content = parsed.content.removeprefix(">>>").removeprefix("all\n")
        return ParsedAnswer(content=content, calls=parsed.calls)


@tool_formats.register("kimi_k2")
class KimiFormat(MarkedNameFormat):
    """Kimi K2: `functions.name:number` as the id of a call, JSON behind it, a section around all."""

    pattern = re.compile(
        r"\s*(?:<\|tool_calls_section_begin\|>)?\s*<\|tool_call_begin\|>\s*(?P<id>(?:functions\.)?(?P<name>[\w.-]+?)(?::\d+)?)\s*"
        r"<\|tool_call_argument_begin\|>(?P<arguments>.*?)<\|tool_call_end\|>(?:\s*<\|tool_calls_section_end\|>)?",
        re.DOTALL,
    )


@tool_formats.register("harmony")
class HarmonyFormat(MarkedNameFormat):
    """gpt-oss: the commentary channel, addressed to a function."""

    pattern = re.compile(
        r"(?:<\|start\|>assistant)?(?:\s*to=functions\.(?P<name>[\w.-]+))?<\|channel\|>commentary"
        r"(?:\s*to=functions\.(?P<later>[\w.-]+))?\s*(?:<\|constrain\|>)?(?:json)?\s*<\|message\|>(?P<arguments>.*?)"
        r"(?:<\|call\|>|\Z)",
        re.DOTALL,
    )


def _read(match: re.Match[str]) -> list[ToolCall]:
    groups = match.groupdict()
    name = groups["name"] or groups.get("later")
    arguments = read_arguments(groups["arguments"])
    if name is None or arguments is None:
        return []
    return [ToolCall(name=name.strip(), arguments=arguments, call_id=groups.get("id"))]
