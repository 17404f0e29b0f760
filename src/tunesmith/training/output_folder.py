# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Decides how a run begins in its output folder: fresh, fresh after moving an earlier run aside, or from a checkpoint.

LLaMA-Factory resumes silently when `resume_from_checkpoint` is unset; here an earlier run is never continued or mixed
without being asked: unset or false refuses a folder with results, `true` continues, and starts fresh where it cannot.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tunesmith.core.errors import TunesmithError, refusal, warning
from tunesmith.core.report import emit_warning
from tunesmith.training.checkpoints import find_fault, list_checkpoints, newest_intact, read_manifest, set_aside
from tunesmith.training.lock import LOCK_FILE, refuse_live_owner

# What a start leaves in its folder before there are results; such a folder may be used again.
_REUSABLE = re.compile(
    r"trainer_log\.jsonl|tunesmith\.yaml|runs|tunesmith-error-.*\.txt|start_adapters|\..*\.partial-.*"
)


@dataclass(frozen=True, kw_only=True)
class Begin:
    """How a run begins: the checkpoint to continue from, or None, and whether an earlier run is moved aside first."""

    folder: Path
    checkpoint: Path | None = None
    moves_earlier_run: bool = False
    broken: tuple[tuple[Path, str], ...] = ()

    def apply(self, say: Callable[[str], None]) -> None:
        """Move aside what the decision says, just before the run writes its first file."""
        if self.moves_earlier_run:
            say(f"The earlier run was moved to {set_aside(self.folder, 'old')}.")
        for path, fault in self.broken:
            say(f"{path.name} is damaged ({fault}); it was moved to {set_aside(path, 'broken').name}.")
        for path in self._abandoned():
            say(f"{path.name} is newer than {self._name()}; it was moved to {set_aside(path, 'old').name}.")
        self.folder.mkdir(parents=True, exist_ok=True)

    def _abandoned(self) -> list[Path]:
        """Checkpoints of this folder beyond the one that is continued: they belong to a course now left."""
        if self.checkpoint is None or self.checkpoint.parent.resolve() != self.folder.resolve():
            return []
        step = read_manifest(self.checkpoint).step
        return [path for newer, path in list_checkpoints(self.folder) if newer > step]

    def _name(self) -> str:
        return self.checkpoint.name if self.checkpoint is not None else "nothing"


def decide_begin(folder: Path, *, resume: bool | str | None, overwrite: bool) -> Begin:
    """Decide how to begin, or refuse; nothing is changed yet."""
    if folder.exists() and not folder.is_dir():
        raise _refuse(folder, f"output_dir {folder} is a file.", "Name a folder.")
    refuse_live_owner(folder)
    if isinstance(resume, str):
        return Begin(folder=folder, checkpoint=_named_checkpoint(Path(resume).expanduser()))
    checkpoint, broken = newest_intact(folder) if resume else (None, [])
    if checkpoint is not None:
        return Begin(folder=folder, checkpoint=checkpoint, broken=tuple(broken))
    earlier = _results(folder)
    if earlier and not overwrite:
        raise _earlier_run(folder, earlier, broken)
    if resume:
        _tell_fresh_start(folder)
    return Begin(folder=folder, moves_earlier_run=bool(earlier))


def _named_checkpoint(path: Path) -> Path:
    """Check the checkpoint that a user named; an output folder stands for its newest intact one."""
    if list_checkpoints(path):
        checkpoint, _ = newest_intact(path)
        path = checkpoint if checkpoint is not None else path
    fault = find_fault(path)
    if fault is None:
        return path
    raise refusal(
        "checkpoint.files_damaged" if path.is_dir() else "checkpoint.path_missing",
        f"The checkpoint {path} cannot be continued: {fault}.",
        "Name an intact checkpoint-<step> folder, or write resume_from_checkpoint: true for the newest intact one.",
        file=str(path),
        key="resume_from_checkpoint",
    )


def _tell_fresh_start(folder: Path) -> None:
    emit_warning(
        warning(
            "checkpoint.none_found",
            f"resume_from_checkpoint is true, but {folder} has no checkpoint to continue from; the run starts fresh.",
            "Nothing, if this is the first start.",
            file=str(folder),
            key="resume_from_checkpoint",
        )
    )


def _results(folder: Path) -> list[str]:
    """Name what an earlier run, or somebody else, left in the folder."""
    if not folder.is_dir():
        return []
    names = sorted(path.name for path in folder.iterdir())
    return [name for name in names if name != LOCK_FILE and not _REUSABLE.fullmatch(name)]


def _earlier_run(folder: Path, names: list[str], broken: list[tuple[Path, str]]) -> TunesmithError:
    checkpoints = list_checkpoints(folder)
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    what = f"checkpoints up to step {checkpoints[-1][0]}" if checkpoints else shown
    damage = "".join(f"; {path.name} is damaged ({fault})" for path, fault in broken)
    resume = "" if broken or not checkpoints else "resume_from_checkpoint: true continues it, "
    return _refuse(
        folder,
        f"The output folder {folder} is not empty: it holds {what}{damage}.",
        f"Choose: {resume}overwrite_output_dir: true moves it aside and starts anew, another output_dir leaves it.",
    )


def _refuse(folder: Path, message: str, remedy: str) -> TunesmithError:
    return refusal("training.output_not_empty", message, remedy, file=str(folder), key="output_dir")
