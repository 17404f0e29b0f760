# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Coded problems and the one exception of the package.

Every error and warning carries a stable code from `errors.yaml`; the code decides the exit code of the command.
Nothing here prints: the terminal and JSON forms are made in `cli/report.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from importlib import resources
from typing import Any, Literal

import yaml

Severity = Literal["refuse", "warn"]

MAX_ROWS_SHOWN = 100

# The table is read when a command fails; in pure Python that alone would take a tenth of a second.
_FastLoader: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


class ExitCode(IntEnum):
    """Exit codes of every command."""

    OK = 0
    CONFIG = 2
    DATA = 3
    ENVIRONMENT = 4
    RESOURCES = 5
    VERIFICATION = 6
    SECURITY = 7
    INTERNAL = 70
    INTERRUPTED = 130


# When several problems stop a command, the first class present in this order gives the exit code.
EXIT_ORDER = (
    ExitCode.SECURITY,
    ExitCode.CONFIG,
    ExitCode.ENVIRONMENT,
    ExitCode.RESOURCES,
    ExitCode.DATA,
    ExitCode.VERIFICATION,
    ExitCode.INTERRUPTED,
    ExitCode.INTERNAL,
)


@dataclass(frozen=True, kw_only=True)
class Where:
    """Place of a problem; absent parts are None. `rows` are 0-based records of the source file, at most 100."""

    file: str | None = None
    line: int | None = None
    key: str | None = None
    dataset: str | None = None
    rows: tuple[int, ...] | None = None
    num_rows: int | None = None

    @classmethod
    def of_rows(cls, rows: Sequence[int], *, file: str | None = None, dataset: str | None = None) -> "Where":
        """Name rows by position: all are counted, the first 100 are listed."""
        return cls(file=file, dataset=dataset, rows=tuple(rows[:MAX_ROWS_SHOWN]), num_rows=len(rows))

    def to_json(self) -> dict[str, Any]:
        """Give the JSON object of the error contract (all six keys, absent ones null)."""
        return {
            "file": self.file,
            "line": self.line,
            "key": self.key,
            "dataset": self.dataset,
            "rows": list(self.rows) if self.rows is not None else None,
            "num_rows": self.num_rows,
        }


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One finding: what is wrong, where, and what to do about it."""

    code: str
    message: str
    remedy: str
    where: Where = field(default_factory=Where)
    severity: Severity = "refuse"

    @property
    def exit_code(self) -> ExitCode:
        """Exit code of this problem's class, from `errors.yaml`."""
        return ExitCode[error_table()[self.code]["exit"].upper()]

    def to_json(self) -> dict[str, Any]:
        """Give the JSON object `{code, message, where, remedy}`."""
        return {"code": self.code, "message": self.message, "where": self.where.to_json(), "remedy": self.remedy}


class TunesmithError(Exception):
    """One or more refusals that end a command; `problems` is never empty. `result` is what was found until then."""

    def __init__(self, problems: Iterable[Problem], *, result: Mapping[str, Any] | None = None) -> None:
        self.problems = tuple(problems)
        self.result = dict(result or {})
        assert self.problems, "a TunesmithError needs at least one problem"
        super().__init__("; ".join(f"{problem.code}: {problem.message}" for problem in self.problems))

    @property
    def exit_code(self) -> ExitCode:
        """Exit code of the first class present, in the order security, config, environment, resources, data, …"""
        present = {problem.exit_code for problem in self.problems}
        return next(code for code in EXIT_ORDER if code in present)


def refusal(code: str, message: str, remedy: str, **where: Any) -> TunesmithError:
    """Build the error for a single problem; `where` takes the fields of `Where`."""
    return TunesmithError([Problem(code=code, message=message, remedy=remedy, where=Where(**where))])


def warning(code: str, message: str, remedy: str, **where: Any) -> Problem:
    """Build a problem that does not stop the command."""
    return Problem(code=code, message=message, remedy=remedy, where=Where(**where), severity="warn")


@cache
def error_table() -> dict[str, dict[str, str]]:
    """Read `errors.yaml`: code → {exit, summary}; codes are `<area>.<thing>_<state>`."""
    text = resources.files("tunesmith.core").joinpath("errors.yaml").read_text(encoding="utf-8")
    areas = _FastLoader(text).get_single_data()
    return {f"{area}.{name}": entry for area, entries in areas.items() for name, entry in (entries or {}).items()}
