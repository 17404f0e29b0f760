# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The rows of the training benches, in each system's layout: the same rows in the same order."""

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

ASSETS = Path(__file__).parents[2].parent / "shared" / "assets" / "datasets"

# The turns of a prompt, and the two answers by side.
Pair = tuple[list[dict[str, str]], dict[str, str]]


def write_sft_rows(folder: Path, count: int | None) -> None:
    """Write rows of the Alpaca asset: alpaca.json, turns.jsonl (TRL) and messages.jsonl (ms-swift)."""
    rows = json.loads((ASSETS / "sft" / "alpaca_en.json").read_text(encoding="utf-8"))
    random.Random(0).shuffle(rows)
    rows = [row for row in rows if row["output"].strip()][:count]
    _write(folder / "alpaca.json", [{name: row[name] for name in ("instruction", "input", "output")} for row in rows])
    turns = [(_turn("user", _prompt(row)), _turn("assistant", row["output"])) for row in rows]
    _write_lines(folder / "turns.jsonl", [{"prompt": [user], "completion": [answer]} for user, answer in turns])
    _write_lines(folder / "messages.jsonl", [{"messages": [user, answer]} for user, answer in turns])


def write_pairs(folder: Path, model: Path, *, count: int, cutoff: int) -> list[int]:
    """Write pairs of the preference asset, answers cut so that each side fits; give the tokens of both sides together.

    pairs.json is LLaMA-Factory's layout and ours, turns.jsonl TRL's, swift_pairs.jsonl ms-swift's. The answers are cut
    in the text, for every system cuts tokens in its own way.
    """
    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = json.loads((ASSETS / "preference" / "dpo_en.json").read_text(encoding="utf-8"))
    pairs = [pair for row in rows if (pair := _cut_pair(row, tokenizer, cutoff)) is not None][:count]
    if len(pairs) < count:
        raise SystemExit(f"{count} pairs are asked for, but only {len(pairs)} fit into {cutoff} tokens.")
    sides = ("chosen", "rejected")
    _write(folder / "pairs.json", [_sharegpt(pair) for pair in pairs])
    _write_lines(
        folder / "turns.jsonl",
        [{"prompt": prompt, **{side: [_turn("assistant", pair[side])] for side in sides}} for prompt, pair in pairs],
    )
    _write_lines(
        folder / "swift_pairs.jsonl",
        [
            {"messages": [*prompt, _turn("assistant", pair["chosen"])], "rejected_response": pair["rejected"]}
            for prompt, pair in pairs
        ],
    )
    return [
        sum(_length(tokenizer, [*prompt, _turn("assistant", pair[side])]) for side in sides) for prompt, pair in pairs
    ]


def _cut_pair(row: Mapping[str, Any], tokenizer: Any, cutoff: int) -> Pair | None:
    roles = {"human": "user", "gpt": "assistant", "system": "system"}
    prompt = [_turn(roles[turn["from"]], turn["value"]) for turn in row["conversations"]]
    # The turn's frame has three tokens, and a cut text may be read as one or two more.
    room = cutoff - _length(tokenizer, prompt) - 8
    if room < cutoff // 4:
        return None
    answers = {side: _cut_text(row[side]["value"], tokenizer, room) for side in ("chosen", "rejected")}
    return (prompt, answers) if all(answers.values()) and answers["chosen"] != answers["rejected"] else None


def _cut_text(text: str, tokenizer: Any, room: int) -> str:
    ids = tokenizer(text, add_special_tokens=False).input_ids
    return text.strip() if len(ids) <= room else str(tokenizer.decode(ids[:room])).strip()


def _length(tokenizer: Any, turns: list[dict[str, str]]) -> int:
    return len(tokenizer(tokenizer.apply_chat_template(turns, tokenize=False), add_special_tokens=False).input_ids)


def _sharegpt(pair: Pair) -> dict[str, Any]:
    names = {"user": "human", "assistant": "gpt", "system": "system"}
    prompt, answers = pair
    conversation = [{"from": names[turn["role"]], "value": turn["content"]} for turn in prompt]
    return {"conversations": conversation} | {
        side: {"from": "gpt", "value": answer} for side, answer in answers.items()
    }


def _prompt(row: Mapping[str, str]) -> str:
    return "\n".join(part for part in (row["instruction"], row["input"]) if part)


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
