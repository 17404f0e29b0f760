# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Cells of a bench: each writes one result file, is skipped where its file is there, and stops at a time budget."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


class CellFailed(Exception):
    """A cell could not be measured; the others are, and a later call tries it again."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One measurement: a name, which is that of its file, and what measures it."""

    name: str
    measure: Callable[[], Mapping[str, Any]]


def run_cells(bench: str, cells: Sequence[Cell], *, budget_minutes: float) -> dict[str, dict[str, Any]]:
    """Measure what is not measured yet, in order, until the budget is used up; give all results that are there."""
    folder = RESULTS / bench
    folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + budget_minutes * 60
    results = {}
    for cell in cells:
        file = folder / f"{cell.name}.json"
        if not file.is_file():
            if time.monotonic() > end:
                print(f"{cell.name}: left out, the budget of {budget_minutes} minutes is used up")
                continue
            try:
                result = cell.measure()
            except CellFailed as problem:
                print(f"{cell.name}: failed: {problem}")
                continue
            file.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        results[cell.name] = json.loads(file.read_text(encoding="utf-8"))
        print(f"{cell.name}: {_short(results[cell.name])}", flush=True)
    return results


def _short(result: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is too long for a line."""
    return {name: value for name, value in result.items() if not isinstance(value, list | dict)}
