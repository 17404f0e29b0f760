# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The job of `tunesmith check`: judges a run without starting it, and reports every rule that spoke."""

from pathlib import Path
from typing import Any

from tunesmith.checks.preflight import run_preflight
from tunesmith.config.run import RunConfig
from tunesmith.core.errors import TunesmithError
from tunesmith.core.report import emit_warning
from tunesmith.jobs.assembly import look_at_optimizer
from tunesmith.jobs.automatic import choose_numbers
from tunesmith.training.output_folder import decide_begin


def run(config: RunConfig) -> dict[str, Any]:
    """Run the preflight; refuse with all its refusals, and keep its warnings."""
    would_write = config.job == "train" and config.run.do_train
    report = run_preflight(config, guards=[look_at_output_folder, look_at_optimizer] if would_write else [])
    result = {"job": config.job, "report": report.to_json()}
    for problem in report.warnings:
        emit_warning(problem)
    if report.refusals:
        raise TunesmithError(report.refusals, result=result)
    if would_write and config.resolved.automatic:
        decided = choose_numbers(config, report.parts)
        result["chosen"] = {key: decided.flat[key] for key in config.resolved.automatic}
    return result


def look_at_output_folder(config: RunConfig) -> None:
    """Refuse a folder in which the run could not begin; nothing is written."""
    run = config.run
    folder = Path(run.output_dir or "").expanduser()
    decide_begin(folder, resume=run.resume_from_checkpoint, overwrite=run.overwrite_output_dir)
