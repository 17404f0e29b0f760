# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Calls as families write them, read back; those of templates in the assets stand in tests/parity."""

from dataclasses import replace
from typing import Any

import pytest

from tunesmith.core.types import Message
from tunesmith.templates.parsing import parse_answer
from tunesmith.templates.tools.base import WritingFormat, tool_formats, types_of

WRITTEN = {
    "kimi_k2": "Let me see.<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>"
    '{"a": "x", "n": 3}<|tool_call_end|><|tool_calls_section_end|>',
    "harmony": "Let me see.<|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>"
    '{"a": "x", "n": 3}<|call|>',
    "firefunction": 'Let me see. functools[{"name": "f", "arguments": {"a": "x", "n": 3}}]',
    "internlm": 'Let me see.<|action_start|><|plugin|>\n{"name": "f", "parameters": {"a": "x", "n": 3}}<|action_end|>',
    "command_r": 'Let me see.\nAction: ```json\n[{"tool_name": "f", "parameters": {"a": "x", "n": 3}}]```',
    "phi4_mini": 'Let me see.<|tool_call|>[{"name": "f", "arguments": {"a": "x", "n": 3}}]<|/tool_call|>',
    "granite": 'Let me see.<|tool_call|>[{"name": "f", "arguments": {"a": "x", "n": 3}}]',
    "minimax2": 'Let me see.\n<minimax:tool_call>\n<invoke name="f">\n<parameter name="a">x</parameter>\n'
    '<parameter name="n">3</parameter>\n</invoke>\n</minimax:tool_call>',
    "gemma4": 'Let me see.<|tool_call>call:f{a:<|"|>x<|"|>,n:3}<tool_call|>',
    "lfm2": 'Let me see.<|tool_call_start|>[f(a="x", n=3)]<|tool_call_end|>',
    "qwen3_coder": "Let me see.\n<tool_call>\n<function=f>\n<parameter=a>\nx\n</parameter>\n<parameter=n>\n3\n"
    "</parameter>\n</function>\n</tool_call>",
    "mistral": 'Let me see.[TOOL_CALLS]f[CALL_ID]123456789[ARGS]{"a": "x", "n": 3}',
    "functionary_v3_2": 'all\nLet me see.>>>f\n{"a": "x", "n": 3}',
    "default": 'Let me see.\nAction: f\nAction Input: {"a": "x", "n": 3}',
}
ALONE = {
    "llama3": '<|python_tag|>{"name": "f", "parameters": {"a": "x", "n": 3}}',
    "pythonic": '[f(a="x", n=3)]',
    "glm4": 'f\n{"a": "x", "n": 3}',
}
BROKEN = (
    '{"name": "f"',
    "<tool_call>not json</tool_call>",
    "f(1, 2)",
    "Action: f\nAction Input: none",
    "[1, 2]",
    "3 + 4",
)


def read(name: str, text: str) -> Message:
    return parse_answer(text, tool_formats.get(name)())


@pytest.mark.parametrize("name", [*WRITTEN, *ALONE])
def test_a_call_is_read(name: str) -> None:
    message = read(name, WRITTEN.get(name, ALONE.get(name, "")))
    assert [(call.name, dict(call.arguments)) for call in message.tool_calls] == [("f", {"a": "x", "n": 3})]  # type: ignore[arg-type]
    assert message.content.strip() == ("Let me see." if name in WRITTEN else "")


@pytest.mark.parametrize("name", tool_formats.names())
def test_what_is_no_call_stays_content(name: str) -> None:
    for text in ("Hello.", "3 < 4 and {braces}", *BROKEN):
        message = read(name, text)
        assert message.tool_calls == () and message.content == text, text


@pytest.mark.parametrize("name", tool_formats.names())
def test_what_is_written_is_read(name: str) -> None:
    kind = tool_formats.get(name)()
    if not isinstance(kind, WritingFormat):
        return
    arguments: dict[str, Any] = {"text": "3", "n": 3, "list": [1, {"a": None}], "flag": False, "odd": 'a\n"b" é'}
    call = read("qwen", '<tool_call>{"name": "f", "arguments": {}}</tool_call>').tool_calls[0]
    call = type(call)(name="f", arguments=arguments)
    properties = {"text": {"type": "string"}, "odd": {"type": "string"}}
    tools = [{"name": "f", "parameters": {"type": "object", "properties": properties}}]
    for calls in ([call], [call, replace(call, name="g", arguments={})]):
        parsed = parse_answer(kind.write_calls(calls), kind, types_of(tools))
        assert [(one.name, one.arguments) for one in parsed.tool_calls] == [(one.name, one.arguments) for one in calls]
        assert parsed.content.strip() == ""
    assert "f" in kind.describe(tools)


def test_thoughts_of_other_marks_are_told_from_content() -> None:
    for opening, closing in (("<seed:think>", "</seed:think>"), ("[THINK]", "[/THINK]"), ("◁think▷", "◁/think▷")):
        message = parse_answer(f"{opening}\nwhy\n{closing}\n\nSo.")
        assert (message.reasoning, message.content) == ("why", "So.")
