# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The rows of the training benches, in each system's layout: the same rows in the same order."""

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).parents[2].parent / "shared" / "assets" / "datasets"


def write_sft_rows(folder: Path, count: int | None) -> None:
    """Write rows of the Alpaca asset: alpaca.json, turns.jsonl (TRL) and messages.jsonl (ms-swift)."""
    rows = json.loads((ASSETS / "sft" / "alpaca_en.json").read_text(encoding="utf-8"))
    random.Random(0).shuffle(rows)
    rows = [row for row in rows if row["output"].strip()][:count]
    _write(folder / "alpaca.json", [{name: row[name] for name in ("instruction", "input", "output")} for row in rows])
    turns = [(_turn("user", _prompt(row)), _turn("assistant", row["output"])) for row in rows]
    _write_lines(folder / "turns.jsonl", [{"prompt": [user], "completion": [answer]} for user, answer in turns])
    _write_lines(folder / "messages.jsonl", [{"messages": [user, answer]} for user, answer in turns])


def _prompt(row: Mapping[str, str]) -> str:
    return "\n".join(part for part in (row["instruction"], row["input"]) if part)


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
