# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What a rule of judgement is: a function over the training records that tells which have a fault, with quotes.

Every such rule is also a preflight rule; `judge` asks them all and keeps counts, shares and quotations apart.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tunesmith.checks.context import CheckContext
from tunesmith.checks.judged_rows import JudgedRows
from tunesmith.checks.rule import Finding, Rule, rule, rules
from tunesmith.core.errors import Severity
from tunesmith.core.types import RowKind

ALL_KINDS: tuple[RowKind, ...] = ("text", "supervised", "preference", "feedback", "prompt", "labelled", "contrast")


@dataclass(frozen=True, kw_only=True)
class Judgement(Finding):
    """A finding over `count` of `total` records; `where` names them, file by file, and `quotes` shows some."""

    count: int
    total: int
    quotes: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Part of all records."""
        return self.count / self.total if self.total else 0.0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A judgement with the code and severity of its rule."""

    code: str
    severity: Severity
    judgement: Judgement

    def to_json(self) -> dict[str, Any]:
        """Give what was found as JSON."""
        found = self.judgement
        return {
            "code": self.code,
            "severity": self.severity,
            "message": found.message,
            "remedy": found.remedy,
            "count": found.count,
            "total": found.total,
            "share": found.share,
            "quotes": list(found.quotes),
            "where": found.where.to_json(),
        }


JudgementFunction = Callable[[CheckContext, JudgedRows], Iterable[Judgement]]
_CODES: list[str] = []


def judgement(
    code: str, severity: Severity, *, kinds: tuple[RowKind, ...] = ALL_KINDS
) -> Callable[[JudgementFunction], JudgementFunction]:
    """Register a function as the rule of judgement that finds `code` in rows of some kinds."""

    def store(find: JudgementFunction) -> JudgementFunction:
        def over_context(context: CheckContext) -> Iterable[Finding]:
            rows = context.judged
            return find(context, rows) if rows is not None and rows.kind in kinds and len(rows) else ()

        rule(code, severity, needs=("training", "data"))(over_context)
        _CODES.append(code)
        return find

    return store


def judge(context: CheckContext) -> list[Verdict]:
    """Ask all rules of judgement about the training rows, refusals first."""
    every = [found for code, found in rules.items() if code in _CODES]
    verdicts = [verdict for found in every for verdict in _verdicts(found, context)]
    return sorted(verdicts, key=lambda verdict: verdict.severity != "refuse")


def _verdicts(found: Rule, context: CheckContext) -> Iterator[Verdict]:
    if not all(context.has(need) for need in found.needs):
        return
    for finding in found.find(context):
        assert isinstance(finding, Judgement), "rules of judgement give judgements"
        yield Verdict(code=found.code, severity=found.severity, judgement=finding)


def tell(
    rows: JudgedRows, records: npt.NDArray[Any], message: str, remedy: str, *, quotes: Sequence[str] = ()
) -> Iterator[Judgement]:
    """Make a judgement a file of some records: `message` goes on after how many they are, quotations follow it."""
    shown = f" {'; '.join(quotes)}." if quotes else ""
    for where in rows.places(np.asarray(records).tolist()):
        count, total = where.num_rows or 0, len(rows)
        yield Judgement(
            message=f"{count} of {total} training rows ({share_of(count, total)}) {message}{shown}",
            remedy=remedy,
            where=where,
            count=count,
            total=total,
            quotes=tuple(quotes),
        )


def share_of(count: int, total: int) -> str:
    """Write a share as a percentage that is never 0 for something."""
    percent = 100 * count / total
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"
