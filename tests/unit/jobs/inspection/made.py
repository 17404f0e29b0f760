# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""An inspection made by hand, with every kind of content that is shown."""

from dataclasses import replace
from typing import Any

from tunesmith.core.errors import Problem, Where
from tunesmith.core.types import RowRef
from tunesmith.jobs.inspection.facts import (
    FoundProblem,
    Inspection,
    LedgerLine,
    Lengths,
    Packing,
    SampleRow,
    ShownRow,
    ShownSegment,
    SourceCount,
    TokenRun,
)

HOSTILE = "<script>alert(1)</script>\x1b[2J\u202e</span>&amp;"

RUNS = (
    TokenRun(state="context", texts=("<|im_start|>",), is_special=True),
    TokenRun(state="context", texts=("user", "\n", "What", " is", " 2")),
    TokenRun(state="cut", texts=(" plus", " a", " lot")),
    TokenRun(state="context", texts=(HOSTILE,)),
    TokenRun(state="trained", texts=("It", " is", " 4", "."), weight=1.0),
    TokenRun(state="trained", texts=("<|im_end|>",), is_special=True, weight=1.0),
)


def made_row(number: int = 5, **changes: Any) -> ShownRow:
    """Make a row that was cut."""
    row = ShownRow(
        source=RowRef(dataset="sums", file="data/sums.jsonl", row=number),
        split="train",
        why="longest",
        num_tokens=12,
        num_supervised=5,
        segments=(ShownSegment(name="text", parent=None, num_tokens=12, num_supervised=5, runs=RUNS),),
        outcome="cut",
        reason="middle of long prompt messages left out",
        num_cut=3,
    )
    return replace(row, **changes)


def made_pair() -> ShownRow:
    """Make a preference row."""
    asked = ShownSegment(name="prompt", parent=None, num_tokens=6, num_supervised=0, runs=RUNS[:2])
    answers = [
        ShownSegment(name=name, parent="prompt", num_tokens=5, num_supervised=5, runs=RUNS[4:])
        for name in ("chosen", "rejected")
    ]
    return made_row(9, segments=(asked, *answers), outcome="kept", reason="", num_cut=0)


def made_inspection(**changes: Any) -> Inspection:
    """Make an inspection with a refusal and a warning."""
    lost = Problem(
        code="data.type_wrong",
        message=f"Text is expected in column 'output', found a number (5). {HOSTILE}",
        remedy="Write it as text.",
        where=Where(file="data/sums.jsonl", dataset="sums", rows=(7, 8), num_rows=2),
    )
    repeated = Problem(
        code="check.rows_duplicate",
        message="Of 98 training rows 30 repeat an earlier one.",
        remedy="Remove them.",
        where=Where(file="data/sums.jsonl", dataset="sums", rows=tuple(range(30)), num_rows=30),
        severity="warn",
    )
    found = Inspection(
        stage="sft",
        row_kind="supervised",
        model="models/tiny",
        template="own",
        cutoff_len=2048,
        formats={"sums": "alpaca"},
        rows_in=100,
        rows_kept=98,
        num_token_rows=98,
        tokens=1052,
        supervised_tokens=312,
        lengths=Lengths(
            edges=(0, 5, 10, 15), counts=(1, 90, 7), shortest=4, median=8, percentile_95=11, longest=12, mean=8.2
        ),
        trained_lengths=Lengths(
            edges=(0, 1, 2, 3, 4), counts=(0, 1, 90, 7), shortest=1, median=2, percentile_95=3, longest=3, mean=2.1
        ),
        packing=Packing(capacity=2048, sequences=1, fill=0.51, fill_with_last=0.51),
        sources=(
            SourceCount(
                split="train", dataset="sums", format="alpaca", rows_in=100, rows_kept=98, rows_dropped=2, tokens=1052,
                supervised_tokens=312,
            ),
        ),
        ledger=(
            LedgerLine(
                split="train", dataset="sums", file="data/sums.jsonl", outcome="dropped", reason="data.type_wrong",
                text="broken", is_choice=False, count=2, rows=(7, 8),
            ),
        ),
        findings=(
            FoundProblem(
                problem=lost, count=2, share=0.02, samples=(SampleRow(file="data/sums.jsonl", row=7, text=HOSTILE),)
            ),
            FoundProblem(problem=repeated, count=30, share=0.3, quotes=(HOSTILE,)),
        ),
        shown=(made_row(), made_pair()),
        not_shown={"row 7": "dropped: broken"},
    )  # fmt: skip
    return replace(found, **changes)
