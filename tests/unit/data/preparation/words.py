# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A tokenizer of numbers written as words, and text files to prepare with it, in blocks of a few rows."""

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.core.errors import Problem, refusal
from tunesmith.data.encoders.base import EncodeRules
from tunesmith.data.opening import OpenSet, open_set
from tunesmith.data.preparation.shards import shard_path
from tunesmith.data.preparation.workers import Task, Workshop
from tunesmith.data.recognition import Reading
from tunesmith.data.sets import DataSet
from tunesmith.templates.base import TrainPolicy


@dataclass
class WordTokenizer:
    """Gives every word of a text the number it says; some words make trouble in another process than `pid`."""

    pid: int = 0
    seconds: float = 0.0
    eos_token_id: int = 0

    def __call__(self, texts: list[str], **_: Any) -> dict[str, list[list[int]]]:
        """Tokenise texts."""
        time.sleep(self.seconds)
        if os.getpid() != self.pid:
            self._make_trouble(" ".join(texts))
        return {"input_ids": [[int(word) for word in text.split() if word.isdigit()] for text in texts]}

    def _make_trouble(self, text: str) -> None:
        if "die" in text:
            os.kill(os.getpid(), 9)
        if "refuse" in text:
            raise refusal("data.type_wrong", "The text is refused.", "Write another.")
        if "fail" in text:
            raise ZeroDivisionError("the text fails")


def write_texts(folder: Path, texts: Sequence[str], name: str = "texts.txt") -> Path:
    """Write a file with a text a line."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


def open_texts(path: Path, block_rows: int = 10, **described: Any) -> OpenSet:
    """Open a file of texts in small blocks."""
    data_set = DataSet(name="texts", files=(path,), **described)
    return open_set(data_set, kind="text", seed=0, block_rows=block_rows)


def reading_of(opened: OpenSet) -> Reading:
    """Give how a set is read, which must be known."""
    assert opened.reading is not None and not isinstance(opened.reading, Problem)
    return opened.reading


def workshop(tokenizer: Any = None, *, cutoff_len: int = 100) -> Workshop:
    """Give what encodes texts."""
    words: Any = WordTokenizer()
    rules = EncodeRules(
        tokenizer=tokenizer or words,
        template=None,
        policy=TrainPolicy(),
        cutoff_len=cutoff_len,
        length_policy="truncate_prompt",
    )
    return Workshop(kind="text", rules=rules)


def tasks_of(opened: OpenSet, folder: Path) -> list[Task]:
    """Give a task for each block; shards are named after the content alone."""
    reading = reading_of(opened)
    return [
        Task(block=block, reading=reading, path=shard_path(folder, _name(block.span.digest, block.span.start.row)))
        for block in opened.used_blocks()
    ]


def _name(digest: str, row: int) -> str:
    return hashlib.sha256(f"{digest} {row}".encode()).hexdigest()


def files_in(folder: Path) -> dict[str, bytes]:
    """Read all files of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
