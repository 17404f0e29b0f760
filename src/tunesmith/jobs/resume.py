# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Compares a run with the checkpoint it continues: what forbids it, and what may change the last bits."""

from collections.abc import Mapping
from typing import Any

from tunesmith.core.errors import refusal, warning
from tunesmith.core.report import emit_warning
from tunesmith.training.checkpoints import read_manifest
from tunesmith.training.output_folder import Begin
from tunesmith.training.record import RunRecord, forbidding_differences, telling_differences


def compare_with_checkpoint(begin: Begin, record: RunRecord) -> Mapping[str, Any] | None:
    """Refuse a run that is not the checkpoint's, and give the checkpoint's choices; None for a fresh start."""
    if begin.checkpoint is None:
        return None
    saved = read_manifest(begin.checkpoint).record
    differences = forbidding_differences(saved, record)
    if differences:
        raise refusal(
            "checkpoint.run_differs",
            f"{begin.checkpoint} belongs to another run. Changed since: {'; '.join(differences)}.",
            "Change it back to continue, or start anew: overwrite_output_dir: true without resume_from_checkpoint, or "
            "another output_dir.",
            file=str(begin.checkpoint),
            key="resume_from_checkpoint",
        )
    choices: Mapping[str, Any] = saved["choices"]
    return choices


def warn_of_machine(begin: Begin, record: RunRecord) -> None:
    """Warn when versions or choices of this machine differ from the checkpoint's."""
    if begin.checkpoint is None:
        return
    differences = telling_differences(read_manifest(begin.checkpoint).record, record)
    if differences:
        emit_warning(
            warning(
                "checkpoint.machine_differs",
                f"The run continues, but not to the same last bits as without a break: {'; '.join(differences)}.",
                "Continue on the same machine with the same versions and threads if the bytes matter.",
                file=str(begin.checkpoint),
            )
        )
