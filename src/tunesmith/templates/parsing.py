# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Generated text back into a structured message: reasoning, tool calls in JSON, content."""

import json
import re

from tunesmith.core.types import Message, ToolCall

_REASONING = re.compile(r"\A\s*(?:<think>)?(?P<reasoning>.*?)</think>\n*", re.DOTALL)
_UNFINISHED = re.compile(r"\A\s*<think>(?P<reasoning>.*)\Z", re.DOTALL)
_TOOL_CALL = re.compile(r"\n*<tool_call>\s*(?P<call>\{.*?\})\s*</tool_call>", re.DOTALL)


def parse_answer(text: str) -> Message:
    """Split an answer's text (without its stop token) into reasoning, content and tool calls.

    What is not well-formed stays in the content, so nothing the model said is lost.
    """
    reasoning, text = _split_reasoning(text)
    calls: list[ToolCall] = []

    def collect(match: re.Match[str]) -> str:
        call = _to_call(match["call"])
        if call is None:
            return match.group()
        calls.append(call)
        return ""

    content = _TOOL_CALL.sub(collect, text)
    return Message(role="assistant", content=content, reasoning=reasoning, tool_calls=tuple(calls))


def _split_reasoning(text: str) -> tuple[str | None, str]:
    match = _REASONING.match(text)
    if match is None:
        unfinished = _UNFINISHED.match(text)
        return (unfinished["reasoning"].strip("\n"), "") if unfinished else (None, text)
    return match["reasoning"].strip("\n") or None, text[match.end() :]


def _to_call(text: str) -> ToolCall | None:
    try:
        call = json.loads(text)
    except json.JSONDecodeError:
        return None
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        return None
    arguments = call.get("arguments", {})
    return ToolCall(name=call["name"], arguments=arguments) if isinstance(arguments, (dict, str)) else None
