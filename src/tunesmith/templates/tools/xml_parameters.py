# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Calls with one mark for each parameter: Qwen3-Coder and Qwen3.5, Seed-OSS, MiniMax-M2, MiniCPM5."""

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
    to_json,
    to_text,
    to_value,
    tool_formats,
)


def _read_parameters(pattern: re.Pattern[str], text: str, kinds: Mapping[str, str], padding: str) -> Mapping[str, Any]:
    return {
        match["key"]: to_value(match["value"].removeprefix(padding).removesuffix(padding), kinds.get(match["key"]))
        for match in pattern.finditer(text)
    }


@tool_formats.register("qwen3_5")
@tool_formats.register("qwen3_coder")
class Qwen35Format(WritingFormat):
    """`<function=name>` with `<parameter=key>` lines, between `<tool_call>` marks."""

    mark: ClassVar[str] = "tool_call"
    padding: ClassVar[str] = "\n"
    _PARAMETER = re.compile(r"<parameter=(?P<key>[^>\n]+)>(?P<value>.*?)</parameter>", re.DOTALL)

    def parse(self, text: str, types: ArgumentTypes) -> ParsedAnswer | None:
        pattern = re.compile(
            rf"\n*<{self.mark}>\s*<function=(?P<name>[^>\n]+)>(?P<body>.*?)</function>\s*</{self.mark}>", re.DOTALL
        )

        def read(match: re.Match[str]) -> list[ToolCall]:
            kinds = types.get(match["name"], {})
            arguments = _read_parameters(self._PARAMETER, match["body"], kinds, self.padding)
            return [ToolCall(name=match["name"], arguments=arguments)]

        return collect(pattern, text, read)

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        lines = "\n".join(to_json({"type": "function", "function": tool}) for tool in tools)
        example = self.write_calls(
            [ToolCall(name="example_function_name", arguments={"example_parameter_1": "value_1"})]
        )
        return (
            f"\n\n# Tools\n\nYou have access to the following functions:\n\n<tools>\n{lines}\n</tools>\n\n"
            f"If you choose to call a function, write each call in this format, with nothing behind it:\n\n{example}"
        )

    def write_calls(self, calls: Sequence[ToolCall]) -> str:
        return "\n".join(self._write(call) for call in calls)

    def _write(self, call: ToolCall) -> str:
        lines = [
            f"<parameter={key}>{self.padding}{to_text(value)}{self.padding}</parameter>\n"
            for key, value in arguments_of(call).items()
        ]
        return f"<{self.mark}>\n<function={call.name}>\n{''.join(lines)}</function>\n</{self.mark}>"


@tool_formats.register("seed_oss")
class SeedFormat(Qwen35Format):
    """Seed-OSS: the same under its own marks, values without line feeds around them."""

    mark = "seed:tool_call"
    padding = ""


@tool_formats.register("minimax2")
@tool_formats.register("minimax_m2")
class MiniMax2Format(WritingFormat):
    """`<invoke name>` with `<parameter name>` lines, between `<minimax:tool_call>` marks."""

    _CALLS = re.compile(r"\n*<minimax:tool_call>(?P<calls>.*?)</minimax:tool_call>", re.DOTALL)
    _INVOKE = re.compile(r'<invoke name="(?P<name>[^"]+)">(?P<body>.*?)</invoke>', re.DOTALL)
    _PARAMETER = re.compile(r'<parameter name="(?P<key>[^"]+)">(?P<value>.*?)</parameter>', re.DOTALL)

    def parse(self, text: str, types: ArgumentTypes) -> ParsedAnswer | None:
        def read(match: re.Match[str]) -> list[ToolCall]:
            return [
                ToolCall(
                    name=call["name"],
                    arguments=_read_parameters(self._PARAMETER, call["body"], types.get(call["name"], {}), ""),
                )
                for call in self._INVOKE.finditer(match["calls"])
            ]

        return collect(self._CALLS, text, read)

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        lines = "\n".join(f"<tool>{to_json(tool)}</tool>" for tool in tools)
        example = self.write_calls([ToolCall(name="tool-name", arguments={"param-key": "param-value"})])
        return (
            "\n\n# Tools\nYou may call one or more tools to assist with the user query.\nHere are the tools available "
            f"in JSONSchema format:\n\n<tools>\n{lines}\n</tools>\n\nWhen making tool calls, use XML format to invoke "
            f"tools and pass parameters:\n\n{example}"
        )

    def write_calls(self, calls: Sequence[ToolCall]) -> str:
        lines = "".join(
            f'<invoke name="{call.name}">\n'
            + "".join(
                f'<parameter name="{key}">{to_text(value)}</parameter>\n' for key, value in arguments_of(call).items()
            )
            + "</invoke>\n"
            for call in calls
        )
        return f"<minimax:tool_call>\n{lines}</minimax:tool_call>"


@tool_formats.register("minicpm5")
class MiniCPM5Format(ToolFormat):
    """`<function name>` with `<param name>`, long values in CDATA."""

    _CALL = re.compile(r'\n*<function name="(?P<name>[^"]+)">(?P<body>.*?)</function>', re.DOTALL)
    _PARAMETER = re.compile(
        r'<param name="(?P<key>[^"]+)">(?:<!\[CDATA\[(?P<raw>.*?)\]\]>|(?P<value>.*?))</param>', re.DOTALL
    )

    def parse(self, text: str, types: ArgumentTypes) -> ParsedAnswer | None:
        def read(match: re.Match[str]) -> list[ToolCall]:
            kinds = types.get(match["name"], {})
            found = self._PARAMETER.finditer(match["body"])
            values = {item["key"]: item["raw"] if item["raw"] is not None else item["value"] for item in found}
            arguments = {key: to_value(value, kinds.get(key)) for key, value in values.items()}
            return [ToolCall(name=match["name"], arguments=arguments)]

        return collect(self._CALL, text, read)
