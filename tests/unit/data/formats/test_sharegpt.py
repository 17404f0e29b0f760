# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""ShareGPT rows: roles by tags, tools, function calls and observations, and the order of turns."""

import json
from typing import Any

import pytest

from tests.unit.data.rows import conversation, read, refused, turns

CALL = {"name": "weather", "arguments": {"city": "Oslo"}}


def row(*turns_: tuple[str, Any], **columns: Any) -> dict[str, Any]:
    return {"conversations": [{"from": role, "value": value} for role, value in turns_], **columns}


def test_all_roles_are_read() -> None:
    tools = [{"name": "weather", "description": "d", "parameters": {"type": "object"}}]
    values = row(
        ("system", "s"),
        ("human", "a"),
        ("function_call", json.dumps(CALL)),
        ("observation", "12 degrees"),
        ("gpt", "b"),
        tools=json.dumps(tools),
    )
    example = read("sharegpt", values)
    assert example.kind == "supervised"
    assert turns(example) == [
        ("system", "s"), ("user", "a"), ("assistant", ""), ("tool", "12 degrees"), ("assistant", "b")
    ]  # fmt: skip
    call = conversation(example).messages[2].tool_calls[0]
    assert (call.name, call.arguments) == ("weather", {"city": "Oslo"})
    assert conversation(example).tools == ({"type": "function", "function": tools[0]},)


def test_a_system_column_is_put_first_unless_a_system_turn_is_there() -> None:
    assert turns(read("sharegpt", row(("human", "a"), ("gpt", "b"), system="s")))[0] == ("system", "s")
    both = row(("system", "own"), ("human", "a"), ("gpt", "b"), system="s")
    assert turns(read("sharegpt", both))[0] == ("system", "own")


def test_giving_some_tags_keeps_the_others() -> None:
    values = {
        "messages": [{"role": "system", "value": "s"}, {"role": "user", "value": "a"}, {"role": "gpt", "value": "b"}]
    }
    example = read("sharegpt", values, columns={"messages": "messages"}, tags={"role_tag": "role", "user_tag": "user"})
    assert turns(example) == [("system", "s"), ("user", "a"), ("assistant", "b")]


def test_several_calls_a_thought_and_call_tags_are_read() -> None:
    listed = read("sharegpt", row(("human", "a"), ("function_call", json.dumps([CALL, CALL]))))
    assert len(conversation(listed).messages[1].tool_calls) == 2
    text = f"<think>\nhm\n</think>\n\nLooking.\n<tool_call>\n{json.dumps(CALL)}\n</tool_call>"
    message = conversation(read("sharegpt", row(("human", "a"), ("function_call", text)))).messages[1]
    assert (message.reasoning, message.content, len(message.tool_calls)) == ("hm", "Looking.", 1)


def test_a_pair_has_its_answers_in_columns() -> None:
    values = row(("human", "a"), chosen={"from": "gpt", "value": "good"}, rejected={"from": "gpt", "value": "bad"})
    example = read("sharegpt", values, ranking=True)
    assert example.kind == "preference" and example.chosen[0].content == "good"
    assert refused("sharegpt", row(("human", "a"), ("gpt", "b")), ranking=True).code == "data.column_missing"


@pytest.mark.parametrize("name", ["loss_weight", "weight", "loss", "loss_scale"])
def test_a_message_may_carry_a_loss_weight(name: str) -> None:
    values = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b", name: 0}]}
    assert conversation(read("sharegpt", values)).messages[1].weight == 0.0


@pytest.mark.parametrize(
    ("values", "code"),
    [
        (row(("human", "a"), ("human", "b"), ("gpt", "c")), "data.role_order_broken"),
        (row(("gpt", "a"), ("human", "b")), "data.role_order_broken"),
        (row(("human", "a"), ("gpt", "b"), ("gpt", "c")), "data.role_order_broken"),
        (row(("human", "a"), ("system", "s"), ("gpt", "b")), "data.role_order_broken"),
        (row(("observation", "a"), ("gpt", "b")), "data.role_order_broken"),
        (row(("system", "a")), "data.role_order_broken"),
        (row(("human", "a"), ("bot", "b")), "data.role_unknown"),
        (row(("human", "a"), ("gpt", 5)), "data.type_wrong"),
        (row(("human", "a"), ("function_call", "no json")), "data.tool_call_malformed"),
        (row(("human", "a"), ("function_call", "[]")), "data.tool_call_malformed"),
        (row(("human", "a"), ("function_call", '{"arguments": {}}')), "data.tool_call_malformed"),
        (row(("human", "a"), ("gpt", "b"), tools="{"), "data.tools_malformed"),
        (row(("human", "a"), ("gpt", "b"), tools=[{"description": "d"}]), "data.tools_malformed"),
        (row(), "data.messages_empty"),
        ({"conversations": "text"}, "data.type_wrong"),
        ({"conversations": ["a", "b"]}, "data.type_wrong"),
        ({"conversations": [{"role": "user", "content": "a"}]}, "data.column_missing"),
    ],
)
def test_broken_rows_are_refused(values: dict[str, Any], code: str) -> None:
    assert refused("sharegpt", values).code == code


def test_the_error_names_place_and_expectation() -> None:
    error = refused("sharegpt", row(("human", "a"), ("human", "b"), ("gpt", "c")))
    assert "Message 1 is a user turn after a user turn; expected there: assistant" in error.message
