# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""An inspection, computed: rows prepared and judged as a run would, counted, and some of them picked to be shown."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tunesmith.config.run import RunConfig
from tunesmith.core.errors import Problem
from tunesmith.core.types import IntArray
from tunesmith.data.recognition import Reading
from tunesmith.data.store import TokenRows
from tunesmith.jobs.inspection.counting import count_sources, ledger_lines, lost_lines, measure_lengths, measure_packing
from tunesmith.jobs.inspection.facts import FoundProblem, Inspection, LedgerLine, SampleRow, ShownRow
from tunesmith.jobs.inspection.judging import Judged, Raised, judge_rows
from tunesmith.jobs.inspection.records import count_records, readings_of, record_texts
from tunesmith.jobs.inspection.selection import FINDING_ROWS, ShowRequest, pick_rows, splits_of
from tunesmith.jobs.inspection.showing import line_of, show_row
from tunesmith.jobs.inspection.token_text import TokenTexts
from tunesmith.jobs.inspection.uncut import whole_rows

_SAMPLES = 3

Readings = Mapping[str, Reading | None]


def inspect_rows(config: RunConfig, request: ShowRequest) -> Inspection:
    """Inspect the rows of a configuration; what is wrong with them is part of the inspection, not an error."""
    judged = judge_rows(config)
    context = judged.context
    readings = readings_of(config, context.row_kind)
    template = context.template if context.has("template") else None
    found = Inspection(
        stage=config.run.stage,
        row_kind=context.row_kind,
        model=str(config.model.model_name_or_path),
        template=template.name if template is not None else None,
        cutoff_len=config.data.cutoff_len,
        formats={name: reading.format if reading is not None else None for name, reading in readings.items()},
    )
    if judged.has_rows:
        found = _with_rows(found, judged, request, readings)
    else:
        found = _without_rows(found, count_records(config), judged.problems)
    return replace(found, findings=_findings(config, judged, found))


def _without_rows(found: Inspection, rows_in: int | None, problems: Sequence[Problem]) -> Inspection:
    """Count rows of which none was tokenised: where each of them is refused by itself, none is left."""
    lost = lost_lines(problems)
    if not rows_in or sum(line.count for line in lost) != rows_in:
        return replace(found, rows_in=rows_in)
    return replace(found, rows_in=rows_in, rows_kept=0, num_token_rows=0, tokens=0, supervised_tokens=0, ledger=lost)


def _with_rows(found: Inspection, judged: Judged, request: ShowRequest, readings: Readings) -> Inspection:
    """Add what is counted over all rows, and the rows that are shown."""
    context = judged.context
    data, splits = context.data, splits_of(context.data)
    ledger = ledger_lines(data.ledger)
    counted = data.ledger.to_json()
    lengths = _joined([rows.lengths for rows in splits.values()])
    num_supervised = _joined([rows.num_supervised for rows in splits.values()])
    trained = data.train.lengths if data.train is not None and len(data.train) else lengths
    return replace(
        found,
        rows_in=counted["rows_in"],
        rows_kept=counted["rows_kept"],
        num_token_rows=len(lengths),
        tokens=int(lengths.sum()),
        supervised_tokens=int(num_supervised.sum()),
        lengths=measure_lengths(lengths),
        trained_lengths=measure_lengths(num_supervised),
        packing=measure_packing(trained, found.cutoff_len),
        sources=count_sources(data.ledger, splits, found.formats),
        ledger=ledger,
        shown=_shown(judged, request, ledger, readings),
        not_shown=_not_shown(request, splits, ledger, judged.problems),
    )


def _joined(parts: Sequence[IntArray]) -> IntArray:
    empty: IntArray = np.zeros(0, dtype=np.int32)
    return np.concatenate([empty, *parts])


def _shown(
    judged: Judged, request: ShowRequest, ledger: Sequence[LedgerLine], readings: Readings
) -> tuple[ShownRow, ...]:
    context = judged.context
    texts = TokenTexts(context.tokenizer)
    picks = pick_rows(context.data, request, judged.problems, seed=context.config.run.seed)
    lines = {pick.source: line_of(pick.source, ledger) for pick in picks}
    cut = [source for source, line in lines.items() if line is not None and line.outcome == "cut"]
    whole = whole_rows(context, readings, cut)
    return tuple(show_row(pick, texts, lines[pick.source], whole.get(pick.source)) for pick in picks)


def _not_shown(
    request: ShowRequest, splits: Mapping[str, TokenRows], ledger: Sequence[LedgerLine], problems: Sequence[Problem]
) -> dict[str, str]:
    """Say of rows and findings that were asked for and are not there why not."""
    why: dict[str, str] = {}
    wanted = set(request.rows)
    named = [problem.where.rows or () for problem in problems if problem.code == request.finding]
    if request.finding is not None and not named:
        why[f"finding {request.finding}"] = "there is no such finding"
    wanted.update(row for rows in named for row in rows[:FINDING_ROWS])
    if wanted:
        there = {rows.source(index).row for rows in splits.values() for index in range(len(rows))}
        dropped = {row: line.text for line in ledger if line.outcome == "dropped" for row in line.rows}
        for row in sorted(wanted - there):
            reason = dropped.get(row)
            why[f"row {row}"] = f"dropped: {reason}" if reason is not None else "no row begins with this record"
    return why


def _findings(config: RunConfig, judged: Judged, found: Inspection) -> tuple[FoundProblem, ...]:
    """Add to each problem its share of the rows of its data set, and some of the records that it names."""
    sizes: dict[str | None, int] = {}
    for source in found.sources:
        sizes[source.dataset] = sizes.get(source.dataset, 0) + source.rows_in
    places = [(problem.where.file, row) for problem in judged.problems for row in _sampled(problem)]
    texts = record_texts(config, [(file, row) for file, row in places if file is not None])
    return tuple(_found(one, sizes.get(one.problem.where.dataset), texts) for one in judged.raised)


def _sampled(problem: Problem) -> tuple[int, ...]:
    return (problem.where.rows or ())[:_SAMPLES]


def _found(raised: Raised, size: int | None, texts: Mapping[tuple[str, int], str]) -> FoundProblem:
    problem, judgement = raised.problem, raised.judgement
    file, count = problem.where.file, problem.where.num_rows
    samples = [(row, texts.get((file, row))) for row in _sampled(problem)] if file is not None else []
    share = count / size if size and count is not None else None
    return FoundProblem(
        problem=problem,
        count=count if judgement is None else judgement.count,
        share=share if judgement is None else judgement.share,
        samples=tuple(SampleRow(file=file or "", row=row, text=text) for row, text in samples if text is not None),
        quotes=() if judgement is None else judgement.quotes,
    )
