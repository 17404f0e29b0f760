# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Generated text becomes a message, and nothing the model said is lost."""

import pytest

from tunesmith.core.types import ToolCall
from tunesmith.templates.parsing import parse_answer


@pytest.mark.parametrize(
    ("text", "reasoning", "content"),
    [
        ("plain", None, "plain"),
        ("<think>\nwhy\n</think>\n\nbecause", "why", "because"),
        ("<think>\n\n</think>\n\nbecause", None, "because"),
        ("why\n</think>\n\nbecause", "why", "because"),
        ("<think>\ncut off", "cut off", ""),
        ("a <b>c</b>", None, "a <b>c</b>"),
    ],
)
def test_reasoning_is_split_off(text: str, reasoning: str | None, content: str) -> None:
    message = parse_answer(text)
    assert (message.reasoning, message.content) == (reasoning, content)


def test_tool_calls_are_read() -> None:
    message = parse_answer(
        'Let me see.\n<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>\n'
        '<tool_call>\n{"name": "g", "arguments": {"b": {"c": "}"}}}\n</tool_call>'
    )
    assert message.content == "Let me see."
    assert message.tool_calls == (
        ToolCall(name="f", arguments={"a": 1}),
        ToolCall(name="g", arguments={"b": {"c": "}"}}),
    )


@pytest.mark.parametrize("call", ["{broken}", '{"arguments": {}}', '{"name": 1}', '{"name": "f", "arguments": 3}'])
def test_malformed_calls_stay_in_the_content(call: str) -> None:
    text = f"<tool_call>\n{call}\n</tool_call>"
    message = parse_answer(text)
    assert (message.content, message.tool_calls) == (text, ())
