# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rows and a tiny model for the preparation bench: every system reads the same rows with the same tokenizer."""

import json
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

ASSETS = Path(__file__).parents[2].parent / "shared" / "assets"


def alpaca_rows(count: int) -> Iterator[dict[str, str]]:
    """Make rows of the lengths of the Alpaca asset: each its instruction with a number and its answer's sentences."""
    source = json.loads((ASSETS / "datasets" / "sft" / "alpaca_en.json").read_text(encoding="utf-8"))
    generator = random.Random(0)
    for number in range(count):
        row = source[number % len(source)]
        sentences = re.split(r"(?<=[.!?]) ", row["output"])
        generator.shuffle(sentences)
        instruction = f"{row['instruction']} (request {number})"
        yield {"instruction": instruction, "input": row["input"], "output": " ".join(sentences)}


def write_rows(folder: Path, count: int) -> None:
    """Write rows.json in Alpaca's layout, and pairs.jsonl as TRL's prompt and completion."""
    rows = list(alpaca_rows(count))
    (folder / "rows.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    with (folder / "pairs.jsonl").open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps(_pair(row), ensure_ascii=False) + "\n")


def write_long_file(path: Path, count: int) -> None:
    """Write JSON lines of Alpaca rows, as many as asked for, without holding them."""
    with path.open("w", encoding="utf-8") as stream:
        for row in alpaca_rows(count):
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")


def _pair(row: dict[str, str]) -> dict[str, Any]:
    prompt = "\n".join(part for part in (row["instruction"], row["input"]) if part)
    return {
        "prompt": [{"role": "user", "content": prompt}],
        "completion": [{"role": "assistant", "content": row["output"]}],
    }


def write_model(folder: Path, tokenizer: str = "qwen3") -> None:
    """Save a tiny random model with a real tokenizer."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=151936,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        tie_word_embeddings=True,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    for file in sorted((ASSETS / "tokenizers" / tokenizer).iterdir()):
        if "golden" not in file.name:
            shutil.copyfile(file, folder / file.name)
