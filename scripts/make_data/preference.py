# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Makes the `preference` set: a customer's letter with a helpful and an unhelpful reply of like length.

Rows take turns in which reply is the longer one, and both lengths stay close, so that length tells nothing. One reply
of each pair, judged alone, makes the `feedback` set.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from scripts.make_data.draw import Draw

NUM_PAIRS = 160
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MAX_RATIO = 1.15


def make_preference(folder: Path) -> dict[str, str]:
    """Give file name → content; `folder` holds the sentences and, with the orders, names and items."""
    sentences = yaml.safe_load((folder / "preference.yaml").read_text(encoding="utf-8"))
    words = yaml.safe_load((folder / "orders.yaml").read_text(encoding="utf-8"))["train"]
    draw = Draw("preference 1")
    topics = sorted(sentences["topics"])
    pairs: dict[str, dict[str, str]] = {}  # prompt → row, so that no prompt occurs twice
    while len(pairs) < NUM_PAIRS:
        topic = sentences["topics"][topics[len(pairs) % len(topics)]]
        is_longer_chosen = len(pairs) // len(topics) % 2 == 0
        slots = _draw_slots(draw, words)
        row = _draw_pair(draw, topic, sentences, slots)
        if _is_grounded(row, slots) and _fits(row, is_longer_chosen):
            pairs.setdefault(row["instruction"], row)
    rows = list(pairs.values())
    return {"preference.jsonl": _to_lines(rows), "feedback.jsonl": _to_lines(_judged(rows, len(topics)))}


def _judged(pairs: Sequence[Mapping[str, str]], num_topics: int) -> list[dict[str, Any]]:
    """Take one reply of each pair, in turn the good one and the other, the turn changing with every round of topics."""
    rows = []
    for number, pair in enumerate(pairs):
        is_liked = (number + number // num_topics) % 2 == 0
        reply = pair["chosen" if is_liked else "rejected"]
        rows.append({"instruction": pair["instruction"], "output": reply, "liked": is_liked})
    return rows


def _to_lines(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _draw_slots(draw: Draw, words: Mapping[str, Any]) -> dict[str, str]:
    items, other = draw.some(words["items"], 2)
    return {
        "{items}": items[1],
        "{other}": other[1],
        "{name}": draw.one(words["first_names"]),
        "{city}": draw.one(words["cities"]),
        "{day}": draw.one(DAYS),
        "{count}": str(2 + draw.below(8)),
    }


def _draw_pair(
    draw: Draw, topic: Mapping[str, Sequence[str]], sentences: Mapping[str, Any], slots: Mapping[str, str]
) -> dict[str, str]:
    replies = {}
    for side in ("chosen", "rejected"):
        parts = [draw.one(sentences["openings"][side]), draw.one(topic[side])]
        if draw.happens(0.6):
            parts.append(draw.one(sentences["closings"][side]))
        replies[side] = _fill(" ".join(parts), slots)
    signature = draw.one(
        [" Regards, {name}, {city}", " {name}, {city}", " Yours, {name} ({city})", " {name} from {city}"]
    )
    return {"instruction": _fill(f"{draw.one(topic['prompt'])} {signature}", slots), **replies}


def _fill(text: str, slots: Mapping[str, str]) -> str:
    for slot, value in slots.items():
        text = text.replace(slot, value)
    return text


def _is_grounded(row: Mapping[str, str], slots: Mapping[str, str]) -> bool:
    """Keep replies from quoting numbers that the letter does not name; days are the shop's to promise."""
    count = slots["{count}"]
    return count not in row["chosen"] or count in row["instruction"]


def _fits(row: Mapping[str, str], is_longer_chosen: bool) -> bool:
    chosen, rejected = len(row["chosen"]), len(row["rejected"])
    longer, shorter = (chosen, rejected) if is_longer_chosen else (rejected, chosen)
    return shorter < longer <= shorter * _MAX_RATIO
