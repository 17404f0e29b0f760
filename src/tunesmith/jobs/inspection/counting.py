# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Counts over all rows: lengths, packing, tokens of each data set, the ledger's lines."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tunesmith.core.errors import Problem, error_table
from tunesmith.core.types import IntArray
from tunesmith.data.bins import pack_rows
from tunesmith.data.ledger import Ledger
from tunesmith.data.store import TokenRows
from tunesmith.jobs.inspection.facts import LedgerLine, Lengths, Packing, SourceCount

_MAX_BINS = 24


def measure_lengths(lengths: IntArray) -> Lengths | None:
    """Give the histogram and quantiles of lengths; None without rows."""
    if not len(lengths):
        return None
    shortest, longest = int(lengths.min()), int(lengths.max())
    width = _round_width(-(-(longest - shortest + 1) // _MAX_BINS))
    edges = list(range(shortest // width * width, longest // width * width + width + 1, width))
    counts, _ = np.histogram(lengths, bins=edges)
    ordered = np.sort(lengths)
    return Lengths(
        edges=tuple(edges),
        counts=tuple(counts.tolist()),
        shortest=shortest,
        median=int(ordered[(len(ordered) - 1) // 2]),
        percentile_95=int(ordered[max(-(-len(ordered) * 95 // 100) - 1, 0)]),
        longest=longest,
        mean=float(lengths.mean()),
    )


def _round_width(least: int) -> int:
    """Give the next width of the series 1, 2, 5, 10, 20, 50, …"""
    scale = 1
    while True:
        for step in (1, 2, 5):
            if step * scale >= least:
                return step * scale
        scale *= 10


def measure_packing(lengths: IntArray, capacity: int) -> Packing | None:
    """Pack rows as a run would and measure how full the sequences are; None without rows.

    A row longer than a sequence has one of its own, which is full: pairs share a prompt, and only their paths are cut.
    """
    if not len(lengths):
        return None
    bins = pack_rows(lengths, np.arange(len(lengths), dtype=np.int32), capacity)
    totals = np.minimum(bins.totals(lengths), capacity)
    total, least = int(totals.sum()), int(totals.min())
    count = len(bins)
    return Packing(
        capacity=capacity,
        sequences=count,
        fill=(total - least) / ((count - 1) * capacity) if count > 1 else total / capacity,
        fill_with_last=total / (count * capacity),
    )


def ledger_lines(ledger: Ledger) -> tuple[LedgerLine, ...]:
    """Give the lines of a ledger."""
    return tuple(
        LedgerLine(
            split=line["split"],
            dataset=line["dataset"],
            file=line["file"],
            outcome=line["outcome"],
            reason=line["reason"],
            text=line["text"],
            is_choice=line["by_choice"],
            count=line["count"],
            rows=tuple(line["rows"]),
        )
        for line in ledger.to_json()["reasons"]
    )


def lost_lines(problems: Sequence[Problem]) -> tuple[LedgerLine, ...]:
    """Give the rows that refusals of the data name, by code, as dropped: for rows of which none could be tokenised."""
    return tuple(
        LedgerLine(
            split="train",
            dataset=problem.where.dataset or "",
            file=problem.where.file or "",
            outcome="dropped",
            reason=problem.code,
            text=error_table()[problem.code]["summary"],
            is_choice=False,
            count=problem.where.num_rows,
            rows=problem.where.rows,
        )
        for problem in problems
        if problem.code.startswith("data.") and problem.where.rows and problem.where.num_rows
    )


def count_sources(
    ledger: Ledger, splits: Mapping[str, TokenRows], formats: Mapping[str, str | None]
) -> tuple[SourceCount, ...]:
    """Count rows and tokens of each data set on each side of the split."""
    entries = ledger.to_json()["datasets"]
    tokens: dict[tuple[str, str], tuple[int, int]] = {}
    for name, rows in splits.items():
        side = "train" if name == "train" else "eval"
        known = [entry["dataset"] for entry in entries if entry["split"] == side and name in (side, entry["dataset"])]
        tokens.update({(side, dataset): counts for dataset, counts in _tokens_of(rows, known).items()})
    return tuple(_source(entry, tokens, formats) for entry in entries)


def _source(
    entry: Mapping[str, Any], tokens: Mapping[tuple[str, str], tuple[int, int]], formats: Mapping[str, str | None]
) -> SourceCount:
    counted, supervised = tokens.get((entry["split"], entry["dataset"]), (0, 0))
    return SourceCount(
        split=entry["split"],
        dataset=entry["dataset"],
        format=formats.get(entry["dataset"]),
        rows_in=entry["rows_in"],
        rows_kept=entry["rows_kept"],
        rows_dropped=entry["rows_dropped"],
        tokens=counted,
        supervised_tokens=supervised,
    )


def _tokens_of(rows: TokenRows, known: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Count tokens and trained tokens of the rows of each data set; rows of one set need no look at each."""
    if len(known) == 1:
        return {known[0]: (int(rows.lengths.sum()), int(rows.num_supervised.sum()))}
    names: dict[str, int] = {}
    owner: npt.NDArray[np.int32] = np.fromiter(
        (names.setdefault(rows.source(index).dataset, len(names)) for index in range(len(rows))),
        dtype=np.int32,
        count=len(rows),
    )
    tokens = np.bincount(owner, weights=rows.lengths, minlength=len(names))
    supervised = np.bincount(owner, weights=rows.num_supervised, minlength=len(names))
    return {name: (int(tokens[number]), int(supervised[number])) for name, number in names.items()}
