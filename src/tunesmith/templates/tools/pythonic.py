# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Calls as Python writes them, `[f(a="x", b=1)]`: LFM2 between marks, Llama 4 and others bare."""

import ast
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
    to_json,
    tool_formats,
)

_JSON_WORDS = {"true": True, "false": False, "null": None}


@tool_formats.register("lfm2")
class LfmFormat(WritingFormat):
    """A Python list of calls between `<|tool_call_start|>` and `<|tool_call_end|>`."""

    marks = ("<|tool_list_start|>",)
    _CALLS = re.compile(r"\n*<\|tool_call_start\|>(?P<calls>.*?)<\|tool_call_end\|>", re.DOTALL)

    def parse(self, text: str, types: ArgumentTypes) -> ParsedAnswer | None:
        return collect(self._CALLS, text, lambda match: read_python_calls(match["calls"]))

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        return f"List of tools: <|tool_list_start|>{to_json(list(tools))}<|tool_list_end|>"

    def write_calls(self, calls: Sequence[ToolCall]) -> str:
        return f"<|tool_call_start|>{write_python_calls(calls)}<|tool_call_end|>"

    def write_result(self, content: str) -> str:
        return f"<|tool_response_start|>{content}<|tool_response_end|>"


@tool_formats.register("pythonic")
class PythonicFormat(ToolFormat):
    """An answer that is nothing but a Python list of calls."""

    def parse(self, text: str, types: ArgumentTypes) -> ParsedAnswer | None:
        calls = read_python_calls(text.replace("<|python_start|>", "").replace("<|python_end|>", ""))
        return ParsedAnswer(content="", calls=tuple(calls)) if calls else None


def read_python_calls(text: str) -> list[ToolCall]:
    """Read calls with literal keyword arguments; nothing is evaluated."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError):
        return []
    nodes = tree.elts if isinstance(tree, ast.List) else [tree]
    calls = [_to_call(node) for node in nodes]
    return [call for call in calls if call is not None] if all(calls) else []


def write_python_calls(calls: Sequence[ToolCall]) -> str:
    """Write calls as a Python list."""
    written = [
        f"{call.name}({', '.join(f'{key}={_literal(value)}' for key, value in arguments_of(call).items())})"
        for call in calls
    ]
    return f"[{', '.join(written)}]"


def _literal(value: Any) -> str:
    return to_json(value) if isinstance(value, str) else repr(value)


def _to_call(node: ast.expr) -> ToolCall | None:
    if not isinstance(node, ast.Call) or node.args:
        return None
    try:
        arguments = {keyword.arg: _value(keyword.value) for keyword in node.keywords}
    except ValueError:
        return None
    named = {key: value for key, value in arguments.items() if key is not None}
    return ToolCall(name=ast.unparse(node.func), arguments=named) if len(named) == len(arguments) else None


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Name) and node.id in _JSON_WORDS:
        return _JSON_WORDS[node.id]
    if isinstance(node, ast.List):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        keys = [ast.literal_eval(key) for key in node.keys if key is not None]
        return dict(zip(keys, map(_value, node.values), strict=True))
    return ast.literal_eval(node)
