# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""ms-swift's rows: queries and messages in its notations, rejected answers, labels, media and contrasts."""

import json
from typing import Any

import pytest

from tests.unit.data.rows import conversation, read, refused, turns

CALLS = [json.dumps({"name": name, "arguments": {"city": "Oslo"}}) for name in ("weather", "time")]


def messages(*pairs: tuple[str, Any], **columns: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in pairs], **columns}


def test_query_history_and_system_make_a_conversation() -> None:
    row = {"system": "s", "query": "c", "response": "d", "history": [["a", "b"]]}
    assert turns(read("swift", row)) == [
        ("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")
    ]  # fmt: skip


def test_calls_beside_an_answer_are_one_turn() -> None:
    row = messages(
        ("user", "a"), ("assistant", "Looking. "), ("tool_call", CALLS[0]), ("tool_call", CALLS[1]),
        ("tool_response", "1"), ("tool_response", "2"), ("assistant", "b"),
    )  # fmt: skip
    example = read("swift", row)
    assert [role for role, _ in turns(example)] == ["user", "assistant", "tool", "tool", "assistant"]
    called = conversation(example).messages[1]
    assert called.content == "Looking. " and [call.name for call in called.tool_calls] == ["weather", "time"]


def test_questions_and_answers_in_one_object_are_read() -> None:
    row = {"messages": [{"human": "a", "assistant": "b"}, {"assistant": "d", "human": "c"}]}
    assert turns(read("swift", row)) == [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]


@pytest.mark.parametrize(
    ("rejected", "texts"),
    [("x", [["x"]]), (["x", "y"], [["x"], ["y"]]), ([{"role": "assistant", "content": "x"}], [["x"]])],
)
def test_a_rejected_response_replaces_what_follows_the_last_user_turn(rejected: Any, texts: list[list[str]]) -> None:
    row = messages(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"), rejected_response=rejected)
    example = read("swift", row)
    assert turns(example)[-1] == ("user", "c") and example.chosen[0].content == "d"
    assert [[message.content for message in answer] for answer in example.rejected] == texts


def test_rejected_messages_share_the_beginning() -> None:
    row = messages(("system", "s"), ("user", "a"), ("assistant", "b"))
    row["rejected_messages"] = messages(("user", "a"), ("assistant", "c"))["messages"]
    example = read("swift", {**row, "margin": 2.0})
    assert turns(example) == [("system", "s"), ("user", "a")]
    assert (example.chosen[0].content, example.rejected[0][0].content) == ("b", "c")
    assert example.fields == {"margin": 2.0}


def test_positive_and_negative_messages_are_contrasts() -> None:
    row = messages(("user", "a"))
    row["positive_messages"] = [messages(("user", "b"))["messages"]]
    row["negative_messages"] = [messages(("user", "c"))["messages"], messages(("user", "d"))["messages"]]
    example = read("swift", {**row, "label": "0.8"}, columns={"similarity": "label"})
    assert example.kind == "contrast" and example.label == 0.8
    assert [turn.content for (turn,) in example.positives] == ["b"]
    assert [turn.content for (turn,) in example.negatives] == ["c", "d"]


def test_channel_objects_and_media() -> None:
    objects = {"ref": ["cat"], "bbox": [[0, 0, 5, 5]]}
    row = {"query": "<img>1.png</img>What is <image>?", "response": "b", "channel": "web", "objects": objects}
    example = read("swift", row | {"query": "<img>1.png</img>and <img>2.png</img>"})
    assert turns(example)[0] == ("user", "<image>and <image>")
    assert [medium["source"] for medium in example.media] == ["1.png", "2.png"]
    assert (example.channel, example.objects) == ("web", objects)


def test_missing_placeholders_go_before_the_first_user_turn() -> None:
    row = {"query": "c", "response": "d", "history": [["a", "b"]], "images": ["1.png", "2.png"]}
    example = read("swift", row)
    assert turns(example)[0] == ("user", "<image><image>a") and len(example.media) == 2
    row = {"query": "<image><image>", "response": "b", "images": ["1.png"]}
    assert refused("swift", row).code == "data.media_count_wrong"


def test_a_lone_answer_is_a_text() -> None:
    example = read("swift", messages(("assistant", "once upon a time")))
    assert (example.kind, example.text) == ("text", "once upon a time")


def test_labels_follow_the_column_that_is_named() -> None:
    row = messages(("user", "a"), ("assistant", "b"), label="false")
    assert read("swift", row, columns={"kto_tag": "label"}).label is False
    labelled = read("swift", messages(("user", "a"), label=3), columns={"label": "label"})
    assert (labelled.kind, labelled.label) == ("labelled", 3)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"other": 1}, "data.column_missing"),
        (messages(("user", "a"), ("narrator", "b")), "data.role_unknown"),
        (messages(("user", "a"), rejected_response="b"), "data.answer_missing"),
        ({**messages(("user", "a"), ("assistant", "b")), "rejected_messages": []}, "data.messages_empty"),
        (
            {**messages(("user", "a"), ("assistant", "b")), "rejected_messages": [{"role": "user", "content": "z"}]},
            "data.pair_unlike",
        ),
        ({**messages(("user", "a")), "negative_messages": [[{"role": "user", "content": "b"}]]}, "data.value_missing"),
        ({"query": "a", "response": "b", "objects": [1]}, "data.type_wrong"),
        ({"query": "a", "response": "b", "channel": 5}, "data.type_wrong"),
        ({"query": "a", "response": "b", "rejected_response": "c", "rejected_images": ["1"]}, "data.media_unsupported"),
    ],
)
def test_broken_rows_are_refused(row: dict[str, Any], code: str) -> None:
    assert refused("swift", row).code == code
