# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A picked row, token by token: segments, runs of trained tokens, special tokens, and what was cut."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from tunesmith.core.types import NO_PARENT, RowRef, TokenRow
from tunesmith.jobs.inspection.facts import LedgerLine, ShownRow, ShownSegment, TokenRun
from tunesmith.jobs.inspection.selection import Pick
from tunesmith.jobs.inspection.token_text import TokenTexts
from tunesmith.jobs.inspection.uncut import Marked, put_back


def line_of(source: RowRef, ledger: Sequence[LedgerLine]) -> LedgerLine | None:
    """Find what became of a record that was not simply kept."""
    for line in ledger:
        if line.outcome != "dropped" and line.file == source.file and source.row in line.rows:
            return line
    return None


def show_row(pick: Pick, texts: TokenTexts, line: LedgerLine | None, whole: TokenRow | None) -> ShownRow:
    """Give one row with the text of its tokens; `whole` is what it was before it was cut."""
    row = pick.rows[pick.index]
    segments = tuple(_segments(row, texts, _segment_ids(whole) if whole is not None else {}))
    cut = [run for segment in segments for run in segment.runs if run.state == "cut"]
    return ShownRow(
        source=row.source,
        split=pick.split,
        why=pick.why,
        num_tokens=row.num_tokens,
        num_supervised=row.num_supervised,
        segments=segments,
        outcome=line.outcome if line is not None else "kept",
        reason=line.text if line is not None else "",
        num_cut=sum(len(run.texts) for run in cut),
        label=row.label,
    )


def _segment_ids(row: TokenRow) -> dict[int, list[int]]:
    ids, start = row.input_ids.tolist(), 0
    found: dict[int, list[int]] = {}
    for number, length in enumerate(row.segment_lengths):
        found[number] = ids[start : start + length]
        start += length
    return found


def _segments(row: TokenRow, texts: TokenTexts, whole: dict[int, list[int]]) -> Iterator[ShownSegment]:
    weights, start = row.weights.tolist(), 0
    for number, ids in _segment_ids(row).items():
        own = weights[start : start + len(ids)]
        start += len(ids)
        parent = row.segment_parents[number]
        yield ShownSegment(
            name=row.segment_names[number],
            parent=None if parent == NO_PARENT else row.segment_names[parent],
            num_tokens=len(ids),
            num_supervised=sum(weight != 0 for weight in own),
            runs=tuple(token_runs(put_back(ids, own, whole.get(number, ids)), texts)),
        )


def token_runs(tokens: Marked, texts: TokenTexts) -> Iterator[TokenRun]:
    """Group tokens of one state and weight; every special token is a run of its own."""
    special = map(texts.is_special, tokens.ids)
    written = zip(tokens.states, tokens.weights, special, texts.texts_of(tokens.ids), strict=True)
    for (state, weight, is_special), group in groupby(written, key=lambda token: token[:3]):
        parts = tuple(text for *_, text in group)
        for run in [(part,) for part in parts] if is_special else [parts]:
            yield TokenRun(state=state, texts=run, is_special=is_special, weight=weight)
