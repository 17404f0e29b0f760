# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Action and Action Input lines: LLaMA-Factory's default tool format and ms-swift's ReAct."""

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
    to_json,
    tool_formats,
)

_CALL = re.compile(
    r"\n*Action:\s*(?P<name>[\w.-]+)\s*\nAction Input:\s*(?P<arguments>\{.*?\})\s*(?=\nAction:|\nObservation:|\Z)",
    re.DOTALL,
)


@tool_formats.register("default")
class DefaultFormat(WritingFormat):
    """A list of tools with their arguments in words; calls as two lines."""

    def parse(self, text: str, types: ArgumentTypes) -> ParsedAnswer | None:
        return collect(_CALL, text, _read)

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        names = ", ".join(str(tool.get("name", "")) for tool in tools)
        listed = "".join(_described(tool) for tool in tools)
        return (
            f"You have access to the following tools:\n{listed}Use the following format if using a tool:\n```\n"
            f"Action: tool name (one of [{names}])\nAction Input: the input to the tool, in a JSON format representing "
            'the kwargs (e.g. ```{"input": "hello world", "num_beams": 5}```)\n```\n'
        )

    def write_calls(self, calls: Sequence[ToolCall]) -> str:
        return "\n".join(f"Action: {call.name}\nAction Input: {to_json(arguments_of(call))}" for call in calls)


@tool_formats.register("react_en")
class ReactFormat(DefaultFormat):
    """ms-swift's ReAct prompt; results come back as observations."""

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        names = ",".join(str(tool.get("name", "")) for tool in tools)
        listed = "\n\n".join(
            f"{tool.get('name', '')}: Call this tool to interact with the {tool.get('name', '')} API. What is the "
            f"{tool.get('name', '')} API useful for? {tool.get('description', '')} Parameters: "
            f"{to_json(tool.get('parameters', {}))} Format the arguments as a JSON object."
            for tool in tools
        )
        return (
            f"Answer the following questions as best you can. You have access to the following tools:\n\n{listed}\n\n"
            "Use the following format:\n\nQuestion: the input question you must answer\n"
            "Thought: you should always think about what to do\n"
            f"Action: the action to take, should be one of [{names}]\n"
            "Action Input: the input to the action\nObservation: the result of the action\n"
            "... (this Thought/Action/Action Input/Observation can be repeated zero or more times)\n"
            "Thought: I now know the final answer\n"
            "Final Answer: the final answer to the original input question\n\nBegin!\n"
        )

    def write_result(self, content: str) -> str:
        return f"Observation: {content}"


def _described(tool: Mapping[str, Any]) -> str:
    parameters = tool.get("parameters")
    properties = parameters.get("properties", {}) if isinstance(parameters, Mapping) else {}
    required = parameters.get("required", []) if isinstance(parameters, Mapping) else []
    lines = [_argument(name, given, name in required) for name, given in properties.items()]
    return (
        f"> Tool Name: {tool.get('name', '')}\nTool Description: {tool.get('description', '')}\nTool Args:\n"
        + "".join(lines)
        + "\n"
    )


def _argument(name: str, given: Mapping[str, Any], is_required: bool) -> str:
    must = ", required" if is_required else ""
    options = f", should be one of [{', '.join(map(str, given['enum']))}]" if given.get("enum") else ""
    return f"  - {name} ({given.get('type', '')}{must}): {given.get('description', '')}{options}\n"


def _read(match: re.Match[str]) -> list[ToolCall]:
    arguments = read_arguments(match["arguments"])
    return [ToolCall(name=match["name"], arguments=arguments)] if arguments is not None else []
