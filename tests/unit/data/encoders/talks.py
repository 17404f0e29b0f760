# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Examples for the tests of encoders: made ones, and real ones read by hand, apart from our own formats."""

import json
from pathlib import Path
from typing import Any

from tunesmith.core.types import NO_PARENT, Conversation, Example, Message, Role, RowKind, RowRef, TokenRow

ROLES: dict[str, Role] = {"human": "user", "gpt": "assistant", "user": "user", "assistant": "assistant",
                          "system": "system"}  # fmt: skip


def ref(row: int = 0) -> RowRef:
    """Name a row."""
    return RowRef(dataset="d", file="f", row=row)


def said(role: Role, content: str, weight: float | None = None) -> Message:
    """Give a message."""
    return Message(role=role, content=content, weight=weight)


def talk(*turns: tuple[Role, str]) -> Conversation:
    """Give a conversation of (role, content)."""
    return Conversation(messages=tuple(said(*turn) for turn in turns))


def example(kind: RowKind, *turns: tuple[Role, str], **fields: Any) -> Example:
    """Give an example with a conversation."""
    return Example(kind=kind, source=ref(), conversation=talk(*turns), **fields)


def records(path: Path) -> list[dict[str, Any]]:
    """Read a JSON or JSONL file."""
    text = path.read_text(encoding="utf-8")
    found: list[dict[str, Any]] = (
        json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
    )
    return found


def preference_pairs(assets: Path) -> list[Example]:
    """Read the English pairs and the Chinese ranked answers."""
    found = []
    for row, values in enumerate(records(assets / "datasets" / "preference" / "dpo_en.json")):
        turns = [(ROLES[turn["from"]], turn["value"]) for turn in values["conversations"]]
        answers = [(said("assistant", values[name]["value"]),) for name in ("chosen", "rejected")]
        found.append(
            Example(kind="preference", source=ref(row), conversation=talk(*turns), chosen=answers[0],
                    rejected=(answers[1],))
        )  # fmt: skip
    for row, values in enumerate(records(assets / "datasets" / "preference" / "oasst_rm_zh.json")):
        history = [turn for asked, answer in values.get("history") or [] for turn in (asked, answer)]
        turns = [(("user", "assistant")[index % 2], text) for index, text in enumerate(history)]
        question = "\n".join(text for text in (values["instruction"], values["input"]) if text)
        chosen, *rejected = ((said("assistant", text),) for text in values["output"])
        found.append(
            Example(kind="preference", source=ref(row), conversation=talk(*turns, ("user", question)), chosen=chosen,
                    rejected=tuple(rejected))
        )  # fmt: skip
    return found


def feedback_rows(assets: Path) -> list[Example]:
    """Read the English answers with a label."""
    return [
        Example(
            kind="feedback",
            source=ref(row),
            conversation=talk(*((ROLES[turn["role"]], turn["content"]) for turn in values["messages"])),
            label=values["label"],
        )
        for row, values in enumerate(records(assets / "datasets" / "preference" / "kto_en.json"))
    ]


def paths(row: TokenRow) -> list[list[int]]:
    """Give the ids of every path from a root to a leaf."""
    ends = [sum(row.segment_lengths[: index + 1]) for index in range(len(row.segment_lengths))]
    spans = [row.input_ids[end - size : end].tolist() for end, size in zip(ends, row.segment_lengths, strict=True)]
    found = []
    for leaf in range(len(spans)):
        if leaf not in row.segment_parents:
            ids, index = spans[leaf], row.segment_parents[leaf]
            while index != NO_PARENT:
                ids, index = spans[index] + ids, row.segment_parents[index]
            found.append(ids)
    return found
