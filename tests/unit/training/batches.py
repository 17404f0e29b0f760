# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Made rows, stores and batches for the tests of training: random ids, the first third of a row unsupervised."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tunesmith.core.types import NO_PARENT, Batch, LayoutKind, RowRef, TokenRow
from tunesmith.data.collate import collate
from tunesmith.data.store import TokenStore, build_store


def make_row(number: int, length: int, *, vocabulary: int = 100, seed: int = 0, is_text: bool = False) -> TokenRow:
    """Make a row of random ids; the first third is prompt, unless the row is plain text."""
    generator = np.random.default_rng((seed, number))
    weights = np.ones(length, dtype=np.float32)
    weights[: 0 if is_text else max(1, length // 3)] = 0
    return TokenRow(
        source=RowRef(dataset="made", file="made.jsonl", row=number),
        input_ids=generator.integers(3, vocabulary, length).astype(np.int32),
        weights=weights,
        segment_lengths=(length,),
    )


def make_rows(lengths: Sequence[int], *, seed: int = 0, is_text: bool = False) -> list[TokenRow]:
    """Make a row of each length."""
    return [make_row(number, length, seed=seed, is_text=is_text) for number, length in enumerate(lengths)]


def make_store(lengths: Sequence[int], *, seed: int = 0, is_text: bool = False) -> TokenStore:
    """Make a store of rows."""
    return build_store(make_rows(lengths, seed=seed, is_text=is_text))


def make_batch(lengths: Sequence[int], *, layout: LayoutKind = "padded") -> Batch:
    """Make a batch of rows."""
    return collate(make_rows(lengths), layout=layout, pad_id=0)


def make_pairs(lengths: Sequence[int], *, vocabulary: int = 100, seed: int = 0) -> list[TokenRow]:
    """Make a prompt of each length with a chosen and a rejected answer, every fourth with two rejected ones."""
    return [_make_pair(number, length, vocabulary, seed) for number, length in enumerate(lengths)]


def _make_pair(number: int, length: int, vocabulary: int, seed: int) -> TokenRow:
    generator = np.random.default_rng((seed, number))
    answers = [int(size) for size in generator.integers(2, 9, 3 if number % 4 == 3 else 2)]
    total = length + sum(answers)
    return TokenRow(
        source=RowRef(dataset="made", file="made.jsonl", row=number),
        input_ids=generator.integers(3, vocabulary, total).astype(np.int32),
        weights=np.repeat([0.0, 1.0], [length, sum(answers)]).astype(np.float32),
        segment_lengths=(length, *answers),
        segment_parents=(NO_PARENT, *(0,) * len(answers)),
        segment_names=("prompt", "chosen", *("rejected",) * (len(answers) - 1)),
    )


def make_feedback(lengths: Sequence[int], *, seed: int = 0) -> list[TokenRow]:
    """Make a prompt of each length with one answer, in turn liked and not."""
    pairs = make_pairs(lengths, seed=seed)
    rows = []
    for number, pair in enumerate(pairs):
        end = sum(pair.segment_lengths[:2])
        rows.append(
            replace(
                pair,
                input_ids=pair.input_ids[:end],
                weights=pair.weights[:end],
                segment_lengths=pair.segment_lengths[:2],
                segment_parents=(NO_PARENT, 0),
                segment_names=("prompt", "answer"),
                label=float(number % 2),
            )
        )
    return rows
