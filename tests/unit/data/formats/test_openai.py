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


def test_media_blocks_leave_placeholders_and_keep_their_order() -> None:
    blocks = [
        {"type": "image_url", "image_url": {"url": "https://example.org/1.png"}},
        {"type": "text", "text": "and"},
        {"type": "image_url", "value": "2.png"},
        {"type": "video", "video": ["f1.png", "f2.png"]},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "BBBB"}},
    ]
    example = read("openai", row(user(blocks), {"role": "assistant", "content": "b"}))
    assert turns(example)[0] == ("user", "<image>and<image><video><audio><image>")
    assert list(example.media) == [
        {"type": "image", "source": "https://example.org/1.png"},
        {"type": "image", "source": "2.png"},
        {"type": "video", "frames": '["f1.png", "f2.png"]'},
        {"type": "audio", "source": "data:;base64,AAAA"},
        {"type": "image", "source": "data:image/png;base64,BBBB"},
    ]


def test_image_blocks_without_a_source_refer_to_the_column() -> None:
    values = row(user([{"type": "image"}, {"type": "text", "text": "?"}]), {"role": "assistant", "content": "b"})
    example = read("openai", {**values, "images": [{"path": None, "bytes": b"abc"}]})
    assert list(example.media) == [{"type": "image", "source": "data:;base64,YWJj"}]


def test_anthropic_tool_blocks_become_calls_and_tool_turns() -> None:
    use = {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "2"}]}
    messages = [user(), {"role": "assistant", "content": [use]}, user([result]), {"role": "assistant", "content": "b"}]
    example = read("openai", row(*messages))
    assert turns(example) == [("user", "a"), ("assistant", ""), ("tool", "2"), ("assistant", "b")]
    assert conversation(example).messages[1].tool_calls[0].arguments == {"a": 1}


def test_answers_are_weighed_one_by_one() -> None:
    first, second = ({"role": "assistant", "content": "b", "loss": loss} for loss in (False, True))
    messages = conversation(read("openai", row(user(), first, user("c"), second))).messages
    assert [message.weight for message in messages] == [None, 0.0, None, 1.0]


def test_a_pair_may_hold_several_rejected_messages() -> None:
    bad = [{"role": "assistant", "content": "c"}, {"role": "assistant", "content": "d"}]
    values = row(user(), chosen={"role": "assistant", "content": "b"}, rejected=bad)
    example = read("openai", values, ranking=True)
    assert example.chosen[0].content == "b" and [turns[0].content for turns in example.rejected] == ["c", "d"]


def test_a_developer_turn_is_a_system_turn() -> None:
    example = read("openai", row({"role": "developer", "content": "s"}, user(), {"role": "assistant", "content": "b"}))
    assert turns(example)[0] == ("system", "s")


def test_arguments_that_are_no_json_stay_text() -> None:
    call = {"function": {"name": "add", "arguments": "a=1"}}
    example = read("openai", row(user(), {"role": "assistant", "content": "", "tool_calls": [call]}))
    assert conversation(example).messages[1].tool_calls[0].arguments == "a=1"


def test_calls_may_be_turns_with_a_role_of_their_own() -> None:
    call = {"role": "function_call", "content": '{"name": "add", "arguments": {"a": 1}}'}
    example = read("openai", row(user(), call, {"role": "tool", "content": "1"}, {"role": "assistant", "content": "b"}))
    assert conversation(example).messages[1].tool_calls[0].name == "add"


def test_a_conversation_that_ends_with_the_user_is_a_prompt() -> None:
    assert read("openai", row(user())).kind == "prompt"


@pytest.mark.parametrize(
    ("values", "code"),
    [
        (row(user(), {"role": "narrator", "content": "b"}), "data.role_unknown"),
        (row(user(), {"content": "b"}), "data.role_unknown"),
        (row(user(7), {"role": "assistant", "content": "b"}), "data.type_wrong"),
        (row(user([{"type": "hologram", "hologram": "x"}])), "data.block_unsupported"),
        (row(user([{"type": "image", "image": 5}])), "data.type_wrong"),
        (row({**user(), "loss_weight": 1.0}, {"role": "assistant", "content": "b"}), "data.weight_unsupported"),
        (row(user([{"type": "image_url", "image_url": "x"}]), images=["y"]), "data.media_count_wrong"),
        (row(user(["a"])), "data.type_wrong"),
        (row(user(), {"role": "assistant", "content": "", "tool_calls": [{"id": "c"}]}), "data.tool_call_malformed"),
        (row(user(), user()), "data.role_order_broken"),
        (row(user(), {"role": "assistant", "content": "b", "loss_weight": "no"}), "data.type_wrong"),
        ({"messages": None}, "data.value_missing"),
    ],
)
def test_broken_rows_are_refused(values: dict[str, Any], code: str) -> None:
    assert refused("openai", values).code == code
