# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Ids of byte-level tokenizers by a faster library (fastokens), with positions from the byte length of every token.

It answers only where the answer is certain: for a text in the tokenizer's normal form whose tokens have as many bytes
as the text. Everything else stays with the tokenizer's own pipeline.
"""

import json
import os
import threading
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from tokenizers.models import BPE

from tunesmith.core.optional import has_package, import_by_name
from tunesmith.core.types import IntArray

_PACKAGE = "fastokens"


@dataclass(frozen=True, kw_only=True)
class ByteEncoded:
    """Token ids of a text and the byte at which each token ends; the interface is that of `Encoded`."""

    ids: IntArray
    text: str
    ends: npt.NDArray[np.int64]
    control_ids: frozenset[int]

    def index_at(self, position: int) -> int:
        """Give the first token that starts at or after a character of the text."""
        start = self._byte(position)
        return 0 if start == 0 else int(np.searchsorted(self.ends, start)) + 1

    def is_inside_token(self, position: int) -> bool:
        """Say whether one token, that is no control token, holds the characters on both sides of a position."""
        place = self._byte(position)
        index = int(np.searchsorted(self.ends, place))
        if position == 0 or index >= len(self.ends) or self.ends[index] == place:
            return False
        return int(self.ids[index]) not in self.control_ids

    def _byte(self, position: int) -> int:
        if self._is_ascii:
            return min(position, len(self.text))
        return len(self.text[:position].encode())

    @cached_property
    def _is_ascii(self) -> bool:
        return self.text.isascii()


class ByteLevelTokenizer:
    """A byte-level pipeline rebuilt in the faster library; None where it does not know the answer for certain."""

    def __init__(self, library: ModuleType, pipeline: Tokenizer, *, needs_nfc: bool) -> None:
        self._tokenizer = library.Tokenizer.from_json_str(pipeline.to_str())
        self._needs_nfc = needs_nfc
        added = pipeline.get_added_tokens_decoder()
        self._added = frozenset(added)
        vocabulary = pipeline.get_vocab(with_added_tokens=True)
        self._num_bytes = np.zeros(max(vocabulary.values()) + 1, dtype=np.int64)
        for token, index in vocabulary.items():
            self._num_bytes[index] = len(token)  # Each character of a byte-level token stands for one byte.
        for index, entry in added.items():
            self._num_bytes[index] = len(entry.content.encode())

    def encode_many(self, texts: Sequence[str]) -> list[ByteEncoded | None]:
        """Encode texts; None stands where the pipeline itself has to be asked."""
        flat, borders = self._tokenizer.encode_batch_flat(list(texts))
        ids = np.frombuffer(flat, dtype="<u4").astype(np.int32)
        starts = np.frombuffer(borders, dtype="<u8").astype(np.int64)
        ends = np.cumsum(self._num_bytes[ids])
        before = np.concatenate([[0], ends])[starts]
        return [
            self._checked(text, ids[start:end], ends[start:end] - offset)
            for text, start, end, offset in zip(
                texts, starts[:-1].tolist(), starts[1:].tolist(), before[:-1].tolist(), strict=True
            )
        ]

    def _checked(self, text: str, ids: IntArray, ends: npt.NDArray[np.int64]) -> ByteEncoded | None:
        is_ascii = text.isascii()
        num_bytes = len(text) if is_ascii else len(text.encode())
        if num_bytes != (int(ends[-1]) if len(ends) else 0):
            return None
        if self._needs_nfc and not is_ascii and not unicodedata.is_normalized("NFC", text):
            return None
        return ByteEncoded(ids=ids, text=text, ends=ends, control_ids=self._added)


def is_byte_level(pipeline: Tokenizer) -> bool:
    """Say whether tokens stand for the bytes of the text one to one, and the faster library is there to make them."""
    model = pipeline.model
    if not isinstance(model, BPE) or model.dropout or model.byte_fallback or not has_package(_PACKAGE):
        return False
    if model.continuing_subword_prefix or model.end_of_word_suffix:
        return False
    steps = _description(pipeline)
    levels = [one for one in steps["pre_tokenizer"] if one["type"] == "ByteLevel"]
    is_known = all(step["type"] == "NFC" for step in steps["normalizer"])
    return is_known and bool(levels) and not any(one["add_prefix_space"] for one in levels)


def build_byte_level(pipeline: Tokenizer) -> ByteLevelTokenizer | None:
    """Rebuild a byte-level pipeline in the faster library; None where that has no build for this machine or part."""
    try:
        needs_nfc = bool(_description(pipeline)["normalizer"])
        return ByteLevelTokenizer(import_by_name(_PACKAGE), pipeline, needs_nfc=needs_nfc)
    except (ImportError, ValueError):
        return None


def _description(pipeline: Tokenizer) -> Mapping[str, list[Mapping[str, Any]]]:
    """List the steps of normalizer and pre-tokenizer; the vocabulary, which is large, is left out."""
    empty = Tokenizer(BPE())
    if pipeline.normalizer is not None:
        empty.normalizer = pipeline.normalizer
    if pipeline.pre_tokenizer is not None:
        empty.pre_tokenizer = pipeline.pre_tokenizer
    described = json.loads(empty.to_str())
    return {
        "normalizer": _steps(described["normalizer"], "normalizers"),
        "pre_tokenizer": _steps(described["pre_tokenizer"], "pretokenizers"),
    }


def _steps(part: Mapping[str, Any] | None, members: str) -> list[Mapping[str, Any]]:
    """List the steps of a normalizer or pre-tokenizer, whether it is one, a sequence or none."""
    if part is None:
        return []
    return [step for inner in part[members] for step in _steps(inner, members)] if members in part else [part]


class Construction:
    """The faster tokenizer while it is being built beside the work, which takes about a second and needs no lock."""

    def __init__(self, pipeline: Tokenizer) -> None:
        self._pipeline = pipeline
        self._process = os.getpid()
        self._built: list[ByteLevelTokenizer | None] = []
        self._thread = self._start()

    def result(self) -> ByteLevelTokenizer | None:
        """Give the tokenizer once it is there."""
        if not self._built and self._process != os.getpid():  # A copy of the process has no copy of the thread.
            self._process, self._thread = os.getpid(), self._start()
        return self._built[0] if self._built else None

    def is_under_way(self) -> bool:
        """Say whether it is still being built in this process."""
        return not self._built and self._process == os.getpid()

    def wait(self) -> None:
        """Wait until it is built."""
        self._thread.join()

    def _start(self) -> threading.Thread:
        thread = threading.Thread(target=self._build, daemon=True)
        thread.start()
        return thread

    def _build(self) -> None:
        self._built.append(build_byte_level(self._pipeline))
