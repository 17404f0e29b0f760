# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Which rows are shown: those asked for, or the first, the longest and some at random, and rows of a finding."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from tunesmith.core.errors import Problem
from tunesmith.core.types import RowRef
from tunesmith.data.pipeline import PreparedData
from tunesmith.data.store import TokenRows

FINDING_ROWS = 3


@dataclass(frozen=True, kw_only=True)
class ShowRequest:
    """What a user asks to see; `rows` are positions of records in their files and replace the usual choice."""

    rows: tuple[int, ...] = ()
    first: int = 2
    longest: int = 1
    sample: int = 1
    finding: str | None = None


@dataclass(frozen=True, kw_only=True)
class Pick:
    """One row to show."""

    split: str
    rows: TokenRows
    index: int
    why: str

    @property
    def source(self) -> RowRef:
        """Where the row came from."""
        return self.rows.source(self.index)


def splits_of(data: PreparedData) -> dict[str, TokenRows]:
    """Give the rows of every side of the split by name, those of training first."""
    train: dict[str, TokenRows] = {"train": data.train} if data.train is not None else {}
    return {**train, **data.evals}


def pick_rows(data: PreparedData, request: ShowRequest, problems: Iterable[Problem], *, seed: int) -> tuple[Pick, ...]:
    """Choose rows in the order they are shown; one that is chosen twice is shown once, with both reasons."""
    splits = splits_of(data)
    wanted = _of_findings(request, problems)
    asked = [(None, row, "asked for") for row in request.rows]
    picks = _at_places(splits, [*asked, *wanted]) if asked or wanted else []
    if not request.rows:
        picks = [*_usual(splits, request, seed=seed), *picks]
    reasons: dict[tuple[str, int], list[str]] = {}
    for split, index, why in picks:
        known = reasons.setdefault((split, index), [])
        known.extend([why] if why not in known else [])
    return tuple(
        Pick(split=split, rows=splits[split], index=index, why=", ".join(why))
        for (split, index), why in reasons.items()
    )


def _usual(splits: Mapping[str, TokenRows], request: ShowRequest, *, seed: int) -> list[tuple[str, int, str]]:
    """Take the first rows, the longest, and a random sample of the others, from the first side that has rows."""
    for split, rows in splits.items():
        if not len(rows):
            continue
        first = list(range(min(request.first, len(rows))))
        longest = np.argsort(-rows.lengths.astype(np.int64), kind="stable")[: request.longest].tolist()
        order = np.random.default_rng(seed).permutation(len(rows))
        others = order[~np.isin(order, [*first, *longest])][: request.sample].tolist()
        chosen = {"first": first, "longest": longest, "at random": sorted(others)}
        return [(split, index, why) for why, indices in chosen.items() for index in indices]
    return []


def _of_findings(request: ShowRequest, problems: Iterable[Problem]) -> list[tuple[str | None, int, str]]:
    """Name some rows of the findings with the code asked for."""
    return [
        (problem.where.file, row, problem.code)
        for problem in problems
        if request.finding == problem.code
        for row in (problem.where.rows or ())[:FINDING_ROWS]
    ]


def _at_places(
    splits: Mapping[str, TokenRows], places: Iterable[tuple[str | None, int, str]]
) -> list[tuple[str, int, str]]:
    """Find the token rows of records, in the order of the records; a record may have become several."""
    order: dict[int, list[tuple[int, str | None, str]]] = {}
    for position, (file, row, why) in enumerate(places):
        order.setdefault(row, []).append((position, file, why))
    found: list[tuple[int, str, int, str]] = []
    for split, rows in splits.items():
        for index in range(len(rows)):
            source = rows.source(index)
            for position, file, why in order.get(source.row, ()):
                if file in (None, source.file):
                    found.append((position, split, index, why))
    return [(split, index, why) for _, split, index, why in sorted(found, key=lambda one: one[0])]
