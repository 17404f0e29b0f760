# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The job of `tunesmith inspect`: the rows of a run as the model will see them, on a terminal, as JSON or as a page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunesmith.config.run import RunConfig
from tunesmith.core.errors import TunesmithError, refusal
from tunesmith.core.files import write_text_atomic
from tunesmith.core.report import emit_warning
from tunesmith.jobs.inspection.compute import inspect_rows
from tunesmith.jobs.inspection.facts import Inspection
from tunesmith.jobs.inspection.json_form import to_json
from tunesmith.jobs.inspection.page import to_page
from tunesmith.jobs.inspection.selection import ShowRequest
from tunesmith.jobs.inspection.terminal import Screen, to_text


def run(
    config: RunConfig,
    *,
    show: Mapping[str, Any] | None = None,
    html: str | None = None,
    screen: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Inspect the rows; `show` says which are shown, `html` names a page to write, without `screen` the result is data.

    Rows for which a run would be refused are an error that carries the whole inspection.
    """
    if html is not None and Path(html).is_dir():
        raise refusal("data.target_exists", f"--html {html} is a folder.", "Name a file, such as rows.html.", file=html)
    found = inspect_rows(config, ShowRequest(**{**(show or {}), "rows": tuple((show or {}).get("rows", ()))}))
    page = {"html": html} if html is not None else {}
    if html is not None:
        write_text_atomic(Path(html), to_page(found))
    if screen is not None:
        return _ended(found, {"text": to_text(found, Screen(**screen)), **page})
    for problem in found.warnings:
        emit_warning(problem)
    return _ended(found, {**to_json(found), **page})


def _ended(found: Inspection, result: dict[str, Any]) -> dict[str, Any]:
    if found.refusals:
        raise TunesmithError(found.refusals, result=result)
    return result
