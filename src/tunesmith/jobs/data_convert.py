# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""`tunesmith data convert`: one data file into another type, every row looked at first, media paths included."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunesmith.core.errors import Problem, TunesmithError, warning
from tunesmith.core.report import emit_warning
from tunesmith.data.conversion.cells import parse_kinds
from tunesmith.data.conversion.convert import (
    Scan,
    check_paths,
    choose_layout,
    media_problem,
    problems_of,
    scan,
    way_back,
    write,
)
from tunesmith.data.conversion.media_paths import MediaFiles
from tunesmith.data.conversion.rows import Source, columns_as_text
from tunesmith.data.conversion.stored import TABLES
from tunesmith.data.conversion.writers import Layout
from tunesmith.data.sources.base import file_type


@dataclass(frozen=True, kw_only=True)
class ConvertRequest:
    """What to convert; `columns`, `rename` and `cells` concern the columns of the source by their names there."""

    source: Path
    target: Path
    overwrite: bool = False
    allow_missing: bool = False
    media_dir: Path | None = None
    columns: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    cells: Mapping[str, str] = field(default_factory=dict)


def run(request: ConvertRequest) -> dict[str, Any]:
    """Convert a file and give the summary; nothing is written unless every row can be read and its media are there."""
    source, target = _source(request), request.target
    check_paths(source.path, target, overwrite=request.overwrite)
    folder = request.media_dir if request.media_dir is not None else source.path.parent
    found = scan(source, MediaFiles(folder))
    problems = problems_of(found, source)
    if found.missing:
        _take_missing(media_problem(found, source, folder), problems, is_allowed=request.allow_missing)
    summary = _summary(found)
    if problems:
        raise TunesmithError(problems, result=summary)
    _tell_changed_types(source)
    layout = choose_layout(found, source, file_type(target))
    write(source, target, layout)
    return {"source": str(source.path), "target": str(target), **summary, **_told(source, target, layout)}


def _source(request: ConvertRequest) -> Source:
    is_stored = file_type(request.source) in TABLES and file_type(request.target) in TABLES
    return Source(
        path=request.source,
        columns=request.columns,
        rename=request.rename,
        cells=parse_kinds(request.cells),
        is_stored=is_stored,
    )


def _take_missing(problem: Problem, problems: list[Problem], *, is_allowed: bool) -> None:
    """Refuse missing media, or warn of them where the user allows them."""
    if not is_allowed:
        problems.append(problem)
        return
    remedy = "Put the files there before training."
    emit_warning(
        Problem(code=problem.code, message=problem.message, remedy=remedy, where=problem.where, severity="warn")
    )


def _tell_changed_types(source: Source) -> None:
    names = columns_as_text(source)
    if names:
        emit_warning(
            warning(
                "data.values_as_text",
                f"Dates and decimals of {', '.join(map(repr, names))} become text: the target has no such type.",
                "Convert to parquet to keep the types.",
                file=str(source.path),
            )
        )


def _summary(found: Scan) -> dict[str, Any]:
    return {
        "rows": found.num_rows,
        "columns": list(found.columns),
        "files_checked": found.num_files,
        "files_missing": found.num_missing,
        "missing": [{"row": row, "paths": paths} for row, paths in found.missing.items()],
    }


def _told(source: Source, target: Path, layout: Layout) -> dict[str, Any]:
    """Tell which columns are not written as they stand, and how to get the same rows back."""
    back = way_back(source, target, layout)
    return {"cells": dict(layout.cells), **({"way_back": back} if back is not None else {})}
