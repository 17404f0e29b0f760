# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The job of `tunesmith check`: judges a run without starting it, and reports every rule that spoke."""

from pathlib import Path
from typing import Any

from tunesmith.checks.preflight import run_preflight
from tunesmith.config.run import RunConfig
from tunesmith.core.errors import TunesmithError
from tunesmith.core.report import emit_warning
from tunesmith.training.output_folder import decide_begin


def run(config: RunConfig) -> dict[str, Any]:
    """Run the preflight; refuse with all its refusals, and keep its warnings."""
    trains = config.job == "train" and config.run.do_train
    report = run_preflight(config, guards=[_look_at_output_folder] if trains else [])
    result = {"job": config.job, "report": report.to_json()}
    for problem in report.problems:
        if problem.severity == "warn":
            emit_warning(problem)
    refusals = [problem for problem in report.problems if problem.severity == "refuse"]
    if refusals:
        raise TunesmithError(refusals, result=result)
    return result


def _look_at_output_folder(config: RunConfig) -> None:
    run = config.run
    folder = Path(run.output_dir or "").expanduser()
    decide_begin(folder, resume=run.resume_from_checkpoint, overwrite=run.overwrite_output_dir)
