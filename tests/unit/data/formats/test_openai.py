# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""OpenAI messages: tool calls and results, reasoning, and contents made of typed blocks."""

from typing import Any

import pytest

from tests.unit.data.rows import conversation, read, refused, turns

CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}


def row(*messages: dict[str, Any], **columns: Any) -> dict[str, Any]:
    return {"messages": list(messages), **columns}


def user(content: Any = "a") -> dict[str, Any]:
    return {"role": "user", "content": content}


def test_calls_and_results_are_read() -> None:
    called = {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_content": "hm"}
    result = {"role": "tool", "tool_call_id": "c1", "name": "add", "content": "1"}
    answer = {"role": "assistant", "content": "It is 1."}
    tools = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
    example = read("openai", row(user(), called, result, result, answer, tools=tools))
    assert [role for role, _ in turns(example)] == ["user", "assistant", "tool", "tool", "assistant"]
    message = conversation(example).messages[1]
    assert message.reasoning == "hm" and message.content == ""
    call = message.tool_calls[0]
    assert (call.name, call.arguments, call.call_id) == ("add", {"a": 1}, "c1")
    assert conversation(example).tools == tuple(tools)


def test_typed_blocks_are_joined_and_told_apart() -> None:
    blocks = [
        {"type": "reasoning", "value": "think"},
        {"type": "text", "text": "one "},
        {"type": "text", "value": "two"},
        {"type": "tool_call", "value": '{"name": "add", "arguments": {"a": 2}}'},
    ]
    message = conversation(
        read("openai", row(user([{"type": "text", "text": "a"}]), {"role": "assistant", "content": blocks}))
    )
    answer = message.messages[1]
    assert message.messages[0].content == "a"
    assert (answer.reasoning, answer.content, answer.tool_calls[0].arguments) == ("think", "one two", {"a": 2})


def test_a_developer_turn_is_a_system_turn() -> None:
    example = read("openai", row({"role": "developer", "content": "s"}, user(), {"role": "assistant", "content": "b"}))
    assert turns(example)[0] == ("system", "s")


def test_arguments_that_are_no_json_stay_text() -> None:
    call = {"function": {"name": "add", "arguments": "a=1"}}
    example = read("openai", row(user(), {"role": "assistant", "content": "", "tool_calls": [call]}))
    assert conversation(example).messages[1].tool_calls[0].arguments == "a=1"


def test_a_conversation_that_ends_with_the_user_is_a_prompt() -> None:
    assert read("openai", row(user())).kind == "prompt"


@pytest.mark.parametrize(
    ("values", "code"),
    [
        (row(user(), {"role": "narrator", "content": "b"}), "data.role_unknown"),
        (row(user(), {"content": "b"}), "data.role_unknown"),
        (row(user(7), {"role": "assistant", "content": "b"}), "data.type_wrong"),
        (row(user([{"type": "image_url", "image_url": "x"}])), "data.block_unsupported"),
        (row(user(["a"])), "data.type_wrong"),
        (row(user(), {"role": "assistant", "content": "", "tool_calls": [{"id": "c"}]}), "data.tool_call_malformed"),
        (row(user(), user()), "data.role_order_broken"),
        (row(user(), {"role": "assistant", "content": "b", "loss_weight": "no"}), "data.type_wrong"),
        ({"messages": None}, "data.value_missing"),
    ],
)
def test_broken_rows_are_refused(values: dict[str, Any], code: str) -> None:
    assert refused("openai", values).code == code
