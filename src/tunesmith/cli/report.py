# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Shows problems and results: paragraphs for people on stderr and stdout, or one JSON object on stdout."""

import json
import math
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, TextIO

from tunesmith.core.errors import ExitCode, Problem, TunesmithError, Where

_MAX_WIDTH = 110
_MAX_LINES = 60
# Text that goes into a file or another program is written for a terminal of the usual width.
_PLAIN_WIDTH = 80
_COLOURS = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m"}
_RESET = "\x1b[0m"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a command ended: its result, warnings, those shown while it ran, and the problems that stopped it."""

    result: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[Problem, ...] = ()
    told: tuple[Problem, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def exit_code(self) -> int:
        """Exit code of the command."""
        return int(TunesmithError(self.problems).exit_code) if self.problems else int(ExitCode.OK)

    def to_json(self) -> dict[str, Any]:
        """Give the JSON object of the contract: ok, warnings, on failure error and errors, and the result."""
        shown = {**self.result, "ok": not self.problems, "warnings": [problem.to_json() for problem in self.warnings]}
        if self.problems:
            errors = [problem.to_json() for problem in self.problems]
            shown |= {"error": errors[0], "errors": errors}
        order = ["ok", "error", "errors", "warnings"]
        return {key: shown[key] for key in [*(k for k in order if k in shown), *(k for k in shown if k not in order)]}


def show_problems(problems: Iterable[Problem]) -> None:
    """Write problems to stderr, a paragraph each."""
    for problem in problems:
        print(paragraph(problem, is_coloured=has_colours(sys.stderr), width=_width()), file=sys.stderr)


def paragraph(problem: Problem, *, is_coloured: bool = False, width: int = 100) -> str:
    """Write a problem as one paragraph: code, place, what and why, and what to do."""
    kind = "error" if problem.severity == "refuse" else "warning"
    place = place_of(problem.where)
    head = f"{kind} {problem.code}" + (f" ({place})" if place else "") + ":"
    wrapped = textwrap.fill(
        f"{head} {problem.message} {problem.remedy}",
        width=width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return wrapped.replace(kind, f"{_COLOURS[kind]}{kind}{_RESET}", 1) if is_coloured else wrapped


def place_of(where: Where) -> str:
    """Write a place: file and line, key, data set, rows."""
    parts = []
    if where.file is not None:
        parts.append(where.file + (f", line {where.line}" if where.line is not None else ""))
    if where.key is not None:
        parts.append(f"key {where.key}")
    if where.dataset is not None:
        parts.append(f"data set {where.dataset}")
    if where.rows:
        shown = ", ".join(map(str, where.rows[:10]))
        total = where.num_rows or len(where.rows)
        parts.append(f"row{'s' if total > 1 else ''} {shown}" + (f", … ({total} rows)" if total > 10 else ""))
    return "; ".join(parts)


def has_colours(stream: TextIO) -> bool:
    """Say whether a stream is a terminal that may show colours."""
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def screen_of(stream: TextIO) -> dict[str, Any]:
    """Say how wide a stream is shown, whether it has colours, and whether it writes any character."""
    encoding = (stream.encoding or "ascii").lower().replace("-", "")
    width = min(_MAX_WIDTH, shutil.get_terminal_size().columns) if stream.isatty() else _PLAIN_WIDTH
    return {"width": width, "has_colours": has_colours(stream), "is_unicode": encoding.startswith("utf")}


def _width() -> int:
    return min(_MAX_WIDTH, shutil.get_terminal_size().columns - 1)


def show_outcome(outcome: Outcome, *, wants_json: bool, already_shown: Sequence[Problem] = ()) -> int:
    """Show how a command ended and give its exit code."""
    known = (*already_shown, *outcome.told)
    show_problems(problem for problem in (*outcome.warnings, *outcome.problems) if problem not in known)
    if wants_json:
        print(json.dumps(to_plain(outcome.to_json()), indent=2, allow_nan=False))
    elif outcome.result:
        print("\n".join(result_lines(outcome.result)))
    sys.stdout.flush()
    return outcome.exit_code


def result_lines(result: Mapping[str, Any]) -> list[str]:
    """Write a result for people: one line a value, nested names with dots."""
    pairs = list(_flatten(result, ""))
    width = max((len(name) for name, _ in pairs), default=0)
    lines = [f"{name.ljust(width)}  {value}" for name, value in pairs]
    return lines if len(lines) <= _MAX_LINES else [*lines[:_MAX_LINES], f"… {len(lines) - _MAX_LINES} more, see --json"]


def _flatten(value: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, str]]:
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping):
            yield from _flatten(item, f"{name}.")
        elif isinstance(item, list | tuple) and any(isinstance(part, Mapping | list | tuple) for part in item):
            yield name, f"{len(item)} entries"
        elif isinstance(item, list | tuple):
            yield name, ", ".join(map(_shown, item)) or "none"
        elif key.endswith("_bytes") and isinstance(item, int):
            yield name, f"{item / 2**30:.2f} GiB"
        else:
            yield name, _shown(item)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def to_plain(value: Any) -> Any:
    """Turn a result into plain JSON values: paths to text, tuples to lists, numbers that are not finite to null."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, PurePath):
        return str(value)
    return value
