# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The JSON form of an inspection: plain values under the names that the command's contract gives them."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tunesmith.core.errors import MAX_ROWS_SHOWN
from tunesmith.jobs.inspection.facts import Inspection, LedgerLine, Lengths, ShownRow, TokenRun


def to_json(found: Inspection) -> dict[str, Any]:
    """Give the whole inspection."""
    packing = found.packing
    return {
        "stage": found.stage,
        "row_kind": found.row_kind,
        "model": found.model,
        "template": found.template,
        "cutoff_len": found.cutoff_len,
        "format": ", ".join(dict.fromkeys(name for name in found.formats.values() if name)) or None,
        "rows_in": found.rows_in,
        "rows_kept": found.rows_kept,
        "dropped": {reason: _dropped(lines) for reason, lines in found.dropped.items()},
        "token_rows": found.num_token_rows,
        "tokens": found.tokens,
        "supervised_tokens": found.supervised_tokens,
        "supervised_share": found.supervised_share,
        "length_histogram": _histogram(found.lengths),
        "lengths": _quantiles(found.lengths),
        "trained_histogram": _histogram(found.trained_lengths),
        "trained_lengths": _quantiles(found.trained_lengths),
        "packing_fill": packing.fill if packing else None,
        "packing": asdict(packing) if packing else None,
        "sources": [asdict(source) for source in found.sources],
        "ledger": [asdict(line) for line in found.ledger],
        "findings": [one.to_json() for one in found.findings],
        "shown": [_row(row) for row in found.shown],
        "not_shown": dict(found.not_shown),
    }


def _histogram(lengths: Lengths | None) -> dict[str, Any] | None:
    return {"edges": lengths.edges, "counts": lengths.counts} if lengths is not None else None


def _quantiles(lengths: Lengths | None) -> dict[str, Any] | None:
    if lengths is None:
        return None
    return {name: value for name, value in asdict(lengths).items() if name not in ("edges", "counts")}


def _dropped(lines: Sequence[LedgerLine]) -> dict[str, Any]:
    """Put the lines of one reason together; with several files the places tell which row is whose."""
    rows = [row for line in lines for row in line.rows][:MAX_ROWS_SHOWN]
    places = [{"dataset": line.dataset, "file": line.file, "count": line.count, "rows": line.rows} for line in lines]
    return {
        "count": sum(line.count for line in lines),
        "rows": rows,
        "text": lines[0].text,
        "by_choice": lines[0].is_choice,
        "places": places,
    }


def _row(row: ShownRow) -> dict[str, Any]:
    return {
        **{name: value for name, value in asdict(row).items() if name not in ("segments", "source")},
        "dataset": row.source.dataset,
        "file": row.source.file,
        "row": row.source.row,
        "segments": [
            {
                "name": segment.name,
                "parent": segment.parent,
                "num_tokens": segment.num_tokens,
                "num_supervised": segment.num_supervised,
                "runs": [_run(run) for run in segment.runs],
            }
            for segment in row.segments
        ],
    }


def _run(run: TokenRun) -> dict[str, Any]:
    return {"state": run.state, "special": run.is_special, "weight": run.weight, "tokens": list(run.texts)}
