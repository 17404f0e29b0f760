# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Generated text back into a structured message: reasoning, tool calls in the template's format, content."""

import re

from tunesmith.core.types import Message
from tunesmith.templates.reasoning import MARKS
from tunesmith.templates.tools.base import ArgumentTypes, ToolFormat
from tunesmith.templates.tools.qwen import QwenFormat

_BLOCKS = [
    (
        re.compile(rf"\A\s*(?:{opening})?(?P<reasoning>.*?){closing}\n*", re.DOTALL),
        re.compile(rf"\A\s*{opening}(?P<reasoning>.*)\Z", re.DOTALL),
        (raw_opening, raw_closing),
    )
    for opening, closing, raw_opening, raw_closing in ((re.escape(a), re.escape(b), a, b) for a, b in MARKS)
]


def parse_answer(text: str, tool_format: ToolFormat | None = None, types: ArgumentTypes | None = None) -> Message:
    """Split an answer's text (without its stop token) into reasoning, content and tool calls.

    Without a format, calls are read as most models write them. What is not well-formed stays in the content, so
    nothing the model said is lost.
    """
    reasoning, text = _split_reasoning(text)
    parsed = (tool_format or QwenFormat()).parse(text, types or {})
    if parsed is None:
        return Message(role="assistant", content=text, reasoning=reasoning)
    return Message(role="assistant", content=parsed.content, reasoning=reasoning, tool_calls=parsed.calls)


def _split_reasoning(text: str) -> tuple[str | None, str]:
    for whole, unfinished, marks in _BLOCKS:
        if not any(mark in text for mark in marks):
            continue
        match = whole.match(text)
        if match is not None:
            return match["reasoning"].strip("\n") or None, text[match.end() :]
        match = unfinished.match(text)
        if match is not None:
            return match["reasoning"].strip("\n"), ""
    return None, text
