# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What an inspection found, as frozen values: counts, lengths, findings, rows token by token; it shows nothing."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tunesmith.core.errors import Problem, Severity
from tunesmith.core.types import RowRef

# How a run of tokens stands to training: a target, context only, or cut away before the model sees the row.
RunState = Literal["trained", "context", "cut"]


@dataclass(frozen=True, kw_only=True)
class TokenRun:
    """Consecutive tokens of one state and weight: the text of each, and whether they are special tokens."""

    state: RunState
    texts: tuple[str, ...]
    is_special: bool = False
    weight: float = 0.0

    @property
    def text(self) -> str:
        """Text of all tokens."""
        return "".join(self.texts)


@dataclass(frozen=True, kw_only=True)
class ShownSegment:
    """One segment of a row: its name, the segment it continues, and its tokens."""

    name: str
    parent: str | None
    num_tokens: int
    num_supervised: int
    runs: tuple[TokenRun, ...]


@dataclass(frozen=True, kw_only=True)
class ShownRow:
    """One row as the model sees it; `why` it is shown, and `outcome` and `reason` where it was cut or split."""

    source: RowRef
    split: str
    why: str
    num_tokens: int
    num_supervised: int
    segments: tuple[ShownSegment, ...]
    outcome: str = "kept"
    reason: str = ""
    num_cut: int = 0
    label: float | None = None


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Tokens, or trained tokens, of rows: quantiles, and a histogram of equal bins with one edge more than counts."""

    edges: tuple[int, ...]
    counts: tuple[int, ...]
    shortest: int
    median: int
    percentile_95: int
    longest: int
    mean: float


@dataclass(frozen=True, kw_only=True)
class Packing:
    """Sequences of at most `capacity` tokens that all rows fill; `fill` leaves the last, part-filled one aside."""

    capacity: int
    sequences: int
    fill: float
    fill_with_last: float


@dataclass(frozen=True, kw_only=True)
class SourceCount:
    """One data set on one side of the split, and how its rows were read."""

    split: str
    dataset: str
    format: str | None
    rows_in: int
    rows_kept: int
    rows_dropped: int
    tokens: int
    supervised_tokens: int


@dataclass(frozen=True, kw_only=True)
class LedgerLine:
    """Rows of one file with one outcome for one reason."""

    split: str
    dataset: str
    file: str
    outcome: str
    reason: str
    text: str
    is_choice: bool
    count: int
    rows: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class SampleRow:
    """One row of a finding: its place, and the beginning of what stands there."""

    file: str
    row: int
    text: str


@dataclass(frozen=True, kw_only=True)
class FoundProblem:
    """A refusal or warning about the data: how many rows, their share, some records, and what the rule quotes."""

    problem: Problem
    count: int | None = None
    share: float | None = None
    samples: tuple[SampleRow, ...] = ()
    quotes: tuple[str, ...] = ()

    @property
    def severity(self) -> Severity:
        """Whether a run is refused for it."""
        return self.problem.severity

    def to_json(self) -> dict[str, Any]:
        """Give the problem's object with severity, count, share and samples."""
        return {
            **self.problem.to_json(),
            "severity": self.severity,
            "count": self.count,
            "share": self.share,
            "samples": [asdict(sample) for sample in self.samples],
            "quotes": list(self.quotes),
        }


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """Everything that was found; counts are None where they are not known.

    `formats` maps data sets to how they are read; `not_shown` says of what was asked for why it is not there.
    """

    stage: str
    row_kind: str
    model: str
    template: str | None
    cutoff_len: int
    formats: Mapping[str, str | None]
    rows_in: int | None = None
    rows_kept: int | None = None
    num_token_rows: int | None = None
    tokens: int | None = None
    supervised_tokens: int | None = None
    lengths: Lengths | None = None
    trained_lengths: Lengths | None = None
    packing: Packing | None = None
    sources: tuple[SourceCount, ...] = ()
    ledger: tuple[LedgerLine, ...] = ()
    findings: tuple[FoundProblem, ...] = ()
    shown: tuple[ShownRow, ...] = ()
    not_shown: Mapping[str, str] = field(default_factory=dict)

    def short(self, name: str) -> str:
        """Give the end of a path that tells it from the others; names of data sets that are no paths stay."""
        files = [line.file for line in self.ledger] + [row.source.file for row in self.shown]
        paths = dict.fromkeys([*self.formats, *files, name])
        others = [Path(other).parts for other in paths if Path(other) != Path(name)]
        parts = Path(name).parts
        for count in range(1, len(parts)):
            if all(other[-count:] != parts[-count:] for other in others):
                return "/".join(parts[-count:])
        return name

    @property
    def refusals(self) -> tuple[Problem, ...]:
        """Problems for which a run would be refused."""
        return tuple(found.problem for found in self.findings if found.severity == "refuse")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Problems that do not stop a run."""
        return tuple(found.problem for found in self.findings if found.severity == "warn")

    @property
    def dropped(self) -> dict[str, tuple[LedgerLine, ...]]:
        """Dropped rows by reason, one line a file."""
        reasons = dict.fromkeys(line.reason for line in self.ledger if line.outcome == "dropped")
        return {
            reason: tuple(line for line in self.ledger if (line.outcome, line.reason) == ("dropped", reason))
            for reason in reasons
        }

    @property
    def supervised_share(self) -> float | None:
        """Share of the tokens that are trained."""
        return self.supervised_tokens / self.tokens if self.tokens and self.supervised_tokens is not None else None
