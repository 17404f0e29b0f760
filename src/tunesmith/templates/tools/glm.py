# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""GLM-4: the name on a line, JSON below; GLM-4.5 and later: keys and values in marks of their own."""

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
    to_json,
    to_text,
    to_value,
    tool_formats,
)


@tool_formats.register("glm4")
@tool_formats.register("chatglm4")
class Glm4Format(WritingFormat):
    """`name`, a line feed, JSON: an answer is one call, or several in a row, and nothing else."""

    _NAME = re.compile(r"\s*(?P<name>[\w.-]+)\n(?=\{)")

    def parse(self, text: str, types: ArgumentTypes) -> ParsedAnswer | None:
        decoder = json.JSONDecoder()
        calls: list[ToolCall] = []
        position = 0
        while text[position:].strip():
            match = self._NAME.match(text, position)
            if match is None:
                return None
            try:
                arguments, position = decoder.raw_decode(text, match.end())
            except json.JSONDecodeError:
                return None
            calls.append(ToolCall(name=match["name"], arguments=arguments))
        return ParsedAnswer(content="", calls=tuple(calls)) if calls else None

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        parts = [
            f"\n\n## {tool.get('name', '')}\n\n{to_json(dict(tool))}\n"
            "在调用上述函数时，请使用 Json 格式表示调用的参数。"
            for tool in tools
        ]
        return "# 可用工具" + "".join(parts)

    def write_calls(self, calls: Sequence[ToolCall]) -> str:
        return "\n".join(f"{call.name}\n{to_json(arguments_of(call))}" for call in calls)


@tool_formats.register("glm4_moe")
@tool_formats.register("glm4_5")
@tool_formats.register("glm4_7")
class GlmMoeFormat(WritingFormat):
    """`<tool_call>name` with `<arg_key>` and `<arg_value>` pairs."""

    _CALL = re.compile(r"\n*<tool_call>\s*(?P<name>[\w.-]+)\s*(?P<body>(?:<arg_key>.*?)?)</tool_call>", re.DOTALL)
    _PAIR = re.compile(r"<arg_key>(?P<key>.*?)</arg_key>\s*<arg_value>(?P<value>.*?)</arg_value>", re.DOTALL)

    def parse(self, text: str, types: ArgumentTypes) -> ParsedAnswer | None:
        def read(match: re.Match[str]) -> list[ToolCall]:
            name = match["name"]
            kinds = types.get(name, {})
            pairs = {pair["key"]: pair["value"] for pair in self._PAIR.finditer(match["body"])}
            return [
                ToolCall(name=name, arguments={key: to_value(value, kinds.get(key)) for key, value in pairs.items()})
            ]

        return collect(self._CALL, text, read)

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        lines = "\n".join(to_json(dict(tool)) for tool in tools)
        example = self.write_calls([ToolCall(name="{function-name}", arguments={"{arg-key-1}": "{arg-value-1}"})])
        return (
            "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
            f"You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n{lines}\n</tools>"
            "\n\nFor each function call, output the function name and arguments within the following XML format:\n"
            + example
        )

    def write_calls(self, calls: Sequence[ToolCall]) -> str:
        return "\n".join(self._write(call) for call in calls)

    def _write(self, call: ToolCall) -> str:
        pairs = [
            f"<arg_key>{key}</arg_key>\n<arg_value>{to_text(value)}</arg_value>\n"
            for key, value in arguments_of(call).items()
        ]
        return f"<tool_call>{call.name}\n{''.join(pairs)}</tool_call>"
