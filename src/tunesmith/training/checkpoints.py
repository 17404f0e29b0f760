# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoint folders that are whole or absent: written atomically, hashed in a manifest, verified before use, rotated.

It knows nothing of what a checkpoint holds; the trainer fills and reads the folder.
"""

import contextlib
import errno
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from tunesmith.core.errors import TunesmithError, refusal
from tunesmith.core.files import remove_partials, sha256_file, write_folder_atomic
from tunesmith.training.record import RunRecord

MANIFEST = "manifest.json"
CONFIG_FILE = "tunesmith.yaml"
FORMAT = 1

_NAME = re.compile(r"checkpoint-(\d+)")
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a checkpoint says of itself: its step, the run it belongs to, counts so far, and the hash of every file."""

    step: int
    record: Mapping[str, Any]
    progress: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """The checkpoints of one output folder, and the record of the run that writes them."""

    folder: Path
    record: RunRecord
    keep: int | None = None

    def path(self, step: int) -> Path:
        """Name the folder of a step's checkpoint."""
        return self.folder / f"checkpoint-{step}"

    @contextlib.contextmanager
    def write(self, step: int, progress: Mapping[str, Any]) -> Iterator[Path]:
        """Yield a folder to fill; it becomes `checkpoint-<step>` with its manifest, or leaves nothing behind."""
        target = self.path(step)
        with refuse_full_disk(target), write_folder_atomic(target) as folder:
            yield folder
            (folder / CONFIG_FILE).write_text(self.record.config_text, encoding="utf-8")
            _write_manifest(folder, step, self.record.to_json(), progress)
            if target.exists():  # a resume from an earlier step came here again
                remove_folder(target)

    def rotate(self, *, best_step: int | None) -> None:
        """Remove the oldest checkpoints beyond `keep`; the newest and the best always stay."""
        found = list_checkpoints(self.folder)
        if self.keep is None:
            return
        spare = [path for step, path in found[:-1] if step != best_step]
        for path in spare[: max(0, len(found) - self.keep)]:
            remove_folder(path)


def list_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """List (step, folder) of all checkpoints, by step."""
    paths = folder.iterdir() if folder.is_dir() else ()
    matches = [(_NAME.fullmatch(path.name), path) for path in paths if path.is_dir()]
    return sorted((int(match[1]), path) for match, path in matches if match)


def newest_intact(folder: Path) -> tuple[Path | None, list[tuple[Path, str]]]:
    """Find the checkpoint of the highest step that verifies, and the newer ones with what is wrong with each."""
    broken: list[tuple[Path, str]] = []
    for _, path in reversed(list_checkpoints(folder)):
        fault = find_fault(path)
        if fault is None:
            return path, broken
        broken.append((path, fault))
    return None, broken


def find_fault(checkpoint: Path) -> str | None:
    """Say what is wrong with a checkpoint's files, or None when all have the size and hash of the manifest."""
    try:
        manifest = read_manifest(checkpoint)
    except TunesmithError as error:
        return error.problems[0].message
    for name, entry in manifest.files.items():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != entry["size"]:
            return f"{name} has {path.stat().st_size} bytes instead of {entry['size']}"
        if sha256_file(path) != entry["sha256"]:
            return f"{name} is not what was written (its hash differs)"
    return None


def read_manifest(checkpoint: Path) -> Manifest:
    """Read a checkpoint's manifest, or refuse with what is wrong with it."""
    path = checkpoint / MANIFEST
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise _no_checkpoint(path, f"it has format {data['format']}, this version reads {FORMAT}")
        return Manifest(step=data["step"], record=data["record"], progress=data["progress"], files=data["files"])
    except FileNotFoundError:
        raise _no_checkpoint(path, "it is missing") from None
    except (ValueError, KeyError, TypeError) as error:
        raise _no_checkpoint(path, f"it cannot be read ({error})") from error


def remove_folder(folder: Path) -> None:
    """Remove a folder so that a kill on the way leaves nothing that looks like a checkpoint."""
    leftover = folder.with_name(f".{folder.name}.partial-removed")
    shutil.rmtree(leftover, ignore_errors=True)
    folder.rename(leftover)
    shutil.rmtree(leftover, ignore_errors=True)


def set_aside(folder: Path, word: str) -> Path:
    """Rename a folder to `<name>.<word>-<n>` with the first free n."""
    number = 1
    while (target := folder.with_name(f"{folder.name}.{word}-{number}")).exists():
        number += 1
    folder.rename(target)
    return target


def clear_leftovers(folder: Path) -> None:
    """Remove what a killed save left in an output folder."""
    remove_partials(folder)


@contextlib.contextmanager
def refuse_full_disk(target: Path) -> Iterator[None]:
    """Turn 'no space left' while writing into a coded refusal."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        is_full = isinstance(error, OSError) and error.errno in _NO_SPACE
        if not is_full and "os error 28" not in str(error).lower():
            raise
        raise refusal(
            "resources.disk_full",
            f"The disk is full: {target} could not be written ({error}). Nothing of it was kept.",
            "Free space or choose another output_dir, then continue with resume_from_checkpoint: true.",
            file=str(target),
            key="output_dir",
        ) from error


def _write_manifest(folder: Path, step: int, record: Mapping[str, Any], progress: Mapping[str, Any]) -> None:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": sha256_file(path)}
        for path in paths
    }
    data = {"format": FORMAT, "step": step, "progress": progress, "record": record, "files": files}
    (folder / MANIFEST).write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _no_checkpoint(path: Path, reason: str) -> TunesmithError:
    return refusal(
        "checkpoint.manifest_invalid",
        f"{path.parent} is no checkpoint of this program: {path.name}: {reason}.",
        "Name a folder checkpoint-<step> of an earlier run, or start without resume_from_checkpoint.",
        file=str(path),
        key="resume_from_checkpoint",
    )
