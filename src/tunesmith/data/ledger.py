# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What became of every row: kept, kept after cutting or splitting, or dropped for a named reason.

Each row that is entered gets exactly one outcome. Losing more rows than allowed, by anything but the user's explicit
choice, is an error.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from tunesmith.core.errors import MAX_ROWS_SHOWN, Problem, TunesmithError, Where
from tunesmith.core.types import RowRef

Outcome = Literal["kept", "cut", "split", "dropped"]


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why rows are cut, split or dropped: in words, what to do about it, and whether the user asked for it."""

    text: str
    remedy: str = ""
    is_choice: bool = False


_LENGTHEN = "Raise cutoff_len, shorten the rows, or set length_policy: drop to train without them"

NOT_SAMPLED = "not_sampled"
HELD_OUT = "held_out"
NOT_MIXED = "not_mixed"

REASONS: dict[str, Reason] = {
    NOT_SAMPLED: Reason(text="left out by max_samples, num_samples or split", is_choice=True),
    NOT_MIXED: Reason(text="not reached: interleave_under ends with the first set that ends", is_choice=True),
    HELD_OUT: Reason(text="has the prompt or the long answer of an evaluation row (streaming)", is_choice=True),
    "too_long": Reason(text="longer than cutoff_len, dropped by length_policy: drop", is_choice=True),
    "answer_too_long": Reason(text="the trained tokens alone fill cutoff_len; answers are never cut", remedy=_LENGTHEN),
    "prompt_too_long": Reason(
        text="system prompt, tools and answers leave too little of cutoff_len for the prompt", remedy=_LENGTHEN
    ),
    "nothing_supervised": Reason(
        text="no token of the row is trained",
        remedy="Give the row an answer with a loss weight above 0, or remove it",
    ),
    "text_empty": Reason(text="the text is empty", remedy="Remove the rows, or name the column that holds the text"),
    "exchange_too_long": Reason(
        text="one turn with its answer alone fills cutoff_len and has no single answer to continue", remedy=_LENGTHEN
    ),
    "unsplittable": Reason(
        text="longer than cutoff_len, and rows of this kind cannot be split",
        remedy="Raise cutoff_len, or choose another length_policy: truncate_prompt or drop",
    ),
    "ratio_nothing": Reason(text="no trained token is left after length_policy: ratio", is_choice=True),
    "ratio_prompt": Reason(text="end of the prompt cut by length_policy: ratio"),
    "ratio_answer": Reason(text="end of an answer cut by length_policy: ratio"),
    "ratio_text": Reason(text="end of the text cut by length_policy: ratio"),
    "turn_parts": Reason(text="split between turns into rows of cutoff_len tokens"),
    "answer_parts": Reason(text="split, and a long answer continued in the next row"),
    "samples": Reason(text="a row for each answer, since the template rewrites earlier turns"),
    "turns_cut": Reason(text="earliest turns left out to fit cutoff_len"),
    "prompt_cut": Reason(text="middle of long prompt messages left out to fit cutoff_len"),
    "parts": Reason(text="text continued in the next row of cutoff_len tokens"),
}


@dataclass
class _Group:
    """Rows of one file with one outcome for one reason; all are counted, the first 100 are listed."""

    count: int = 0
    rows: list[int] = field(default_factory=list)

    def add(self, count: int, rows: Sequence[int]) -> None:
        self.count += count
        self.rows.extend(rows[: MAX_ROWS_SHOWN - len(self.rows)])


@dataclass(frozen=True)
class FileRows:
    """Some rows of one file of a data set: how many, and the numbers of at least the first hundred."""

    dataset: str
    file: str
    count: int
    rows: Sequence[int] = ()


@dataclass(frozen=True, order=True)
class _Key:
    split: str
    dataset: str
    file: str
    outcome: Outcome
    reason: str


class Ledger:
    """Counts rows by split, data set, file, outcome and reason."""

    def __init__(self) -> None:
        self._entered: Counter[tuple[str, str]] = Counter()
        self._groups: dict[_Key, _Group] = {}
        self._broken: dict[str, Reason] = {}

    def enter(self, split: str, dataset: str, num_rows: int) -> None:
        """Enter rows that were read; each must get an outcome."""
        self._entered[split, dataset] += num_rows

    def record(self, split: str, row: RowRef, outcome: Outcome, reason: str = "") -> None:
        """Say what became of one row."""
        self.add(split, FileRows(row.dataset, row.file, 1, (row.row,)), outcome, reason)

    def add(self, split: str, rows: FileRows, outcome: Outcome, reason: str = "") -> None:
        """Say what became of several rows of a file."""
        key = _Key(split, rows.dataset, rows.file, outcome, reason)
        self._groups.setdefault(key, _Group()).add(rows.count, rows.rows)

    def drop_broken(self, split: str, row: RowRef, code: str, message: str) -> None:
        """Drop a row that cannot be read, named by its error code."""
        self.add_broken(split, FileRows(row.dataset, row.file, 1, (row.row,)), code, message)

    def add_broken(self, split: str, rows: FileRows, code: str, message: str) -> None:
        """Drop several rows of a file that cannot be read, named by their error code."""
        self._broken.setdefault(code, Reason(text=f"broken, for example: {message}", remedy="Correct the rows"))
        self.add(split, rows, "dropped", code)

    def to_state(self) -> dict[str, Any]:
        """Give everything as plain JSON values, for a ledger that goes on elsewhere."""
        return {
            "entered": [[*key, count] for key, count in self._entered.items()],
            "groups": [[asdict(key), asdict(group)] for key, group in self._groups.items()],
            "broken": {code: asdict(reason) for code, reason in self._broken.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `to_state` gave."""
        self._entered = Counter({(split, dataset): count for split, dataset, count in state["entered"]})
        self._groups = {
            _Key(**key): _Group(count=group["count"], rows=list(group["rows"])) for key, group in state["groups"]
        }
        self._broken = {code: Reason(**reason) for code, reason in state["broken"].items()}

    def include(self, other: "Ledger", *, split: str | None = None) -> None:
        """Add what another ledger counted, of one split or of all."""
        self._entered.update({key: count for key, count in other._entered.items() if split in (None, key[0])})
        self._broken = {**other._broken, **self._broken}
        for key, group in other._groups.items():
            if split not in (None, key.split):
                continue
            self._groups.setdefault(key, _Group()).add(group.count, group.rows)

    def count(self, *outcomes: Outcome, split: str | None = None) -> int:
        """Count rows with one of some outcomes (all when none is named), of one split or of all."""
        return sum(
            group.count
            for key, group in self._groups.items()
            if (not outcomes or key.outcome in outcomes) and split in (None, key.split)
        )

    @property
    def num_rows(self) -> int:
        """Rows that were read."""
        return self._entered.total()

    @property
    def num_left_out(self) -> int:
        """Rows that sampling left out; `to_json` counts them among the dropped ones."""
        return sum(group.count for key, group in self._groups.items() if key.reason == NOT_SAMPLED)

    @property
    def num_lost(self) -> int:
        """Rows dropped by anything but the user's choice."""
        return sum(group.count for _, group in self._lost())

    def check(self, max_row_loss: float) -> None:
        """Refuse when a greater share of the rows is lost; every row must have an outcome by now."""
        assert self.count() == self.num_rows, "every row has exactly one outcome"
        problems = self.losses(max_row_loss)
        if problems:
            raise TunesmithError(problems)

    def losses(self, max_row_loss: float) -> list[Problem]:
        """Name the lost rows when they are too great a share; rows left out by choice count on neither side."""
        by_choice = self.count("dropped") - self.num_lost
        considered = self.num_rows - by_choice
        if self.num_lost <= max_row_loss * considered:
            return []
        return [self._lost_problem(key, group, considered) for key, group in self._lost()]

    def to_json(self) -> dict[str, Any]:
        """Give the whole ledger as JSON; at most 100 rows are listed for a reason, all are counted."""
        return {
            "rows_in": self.num_rows,
            "rows_kept": self.count("kept", "cut", "split"),
            "rows_cut": self.count("cut"),
            "rows_split": self.count("split"),
            "rows_dropped": self.count("dropped"),
            "rows_lost": self.num_lost,
            "datasets": [self._set_to_json(split, dataset) for split, dataset in self._entered],
            "reasons": [self._group_to_json(key, self._groups[key]) for key in self._named_keys()],
        }

    def table(self) -> str:
        """Write the ledger as text: a line for each data set, then a line for each reason."""
        lines = []
        for split, dataset in self._entered:
            entry = self._set_to_json(split, dataset)
            left_out = self._num_left_out(split, dataset)
            lines.append(
                f"{split}: {dataset}: {entry['rows_in']} rows read, {entry['rows_kept']} used, "
                f"{f'{left_out} left out, ' if left_out else ''}{entry['rows_dropped'] - left_out} dropped"
            )
        for key in self._named_keys():
            group = self._groups[key]
            shown = ", ".join(map(str, group.rows[:5])) + (", …" if group.count > 5 else "")
            outcome = "" if key.reason == NOT_SAMPLED else f"{key.outcome}: "
            lines.append(f"  {outcome}{group.count} of {key.file}: {self._reason(key).text} (rows {shown})")
        return "\n".join(lines)

    def _num_left_out(self, split: str, dataset: str) -> int:
        return sum(
            group.count
            for key, group in self._groups.items()
            if (key.split, key.dataset, key.reason) == (split, dataset, NOT_SAMPLED)
        )

    def _lost(self) -> list[tuple[_Key, _Group]]:
        dropped = [key for key in self._named_keys() if key.outcome == "dropped"]
        return [(key, self._groups[key]) for key in dropped if not self._reason(key).is_choice]

    def _named_keys(self) -> list[_Key]:
        return sorted(key for key in self._groups if key.reason)

    def _reason(self, key: _Key) -> Reason:
        return REASONS.get(key.reason) or self._broken[key.reason]

    def _lost_problem(self, key: _Key, group: _Group, considered: int) -> Problem:
        reason = self._reason(key)
        return Problem(
            code="data.rows_lost",
            message=f"{group.count} of {considered} rows would be lost ({key.reason}): {reason.text}.",
            remedy=f"{reason.remedy}; max_row_loss is the share of rows that may be lost.",
            where=Where(file=key.file, dataset=key.dataset, rows=tuple(group.rows), num_rows=group.count),
        )

    def _set_to_json(self, split: str, dataset: str) -> dict[str, Any]:
        groups = [(key, group) for key, group in self._groups.items() if (key.split, key.dataset) == (split, dataset)]
        dropped = sum(group.count for key, group in groups if key.outcome == "dropped")
        entered = self._entered[split, dataset]
        return {
            "split": split,
            "dataset": dataset,
            "rows_in": entered,
            "rows_kept": sum(group.count for _, group in groups) - dropped,
            "rows_dropped": dropped,
        }

    def _group_to_json(self, key: _Key, group: _Group) -> dict[str, Any]:
        return {
            "split": key.split,
            "dataset": key.dataset,
            "file": key.file,
            "outcome": key.outcome,
            "reason": key.reason,
            "text": self._reason(key).text,
            "by_choice": self._reason(key).is_choice,
            "count": group.count,
            "rows": group.rows,
        }
