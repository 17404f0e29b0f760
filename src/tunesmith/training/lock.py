# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""One run per output folder: a lock file with process id, its start time and machine; stale locks do not count."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from tunesmith.core.errors import TunesmithError, refusal

LOCK_FILE = ".tunesmith.lock"
# Start times of one process, read twice, may differ by the clock's grain.
_SAME_START_SECONDS = 1.0
_FILLING_SECONDS = 5.0


def live_owner(folder: Path) -> str | None:
    """Describe the live run that uses a folder, or None."""
    path = folder / LOCK_FILE
    owner = _read(path)
    if owner is None:
        return "a process that is just starting" if _is_young(path) else None
    if owner["pid"] == os.getpid():
        return None
    if owner["host"] != socket.gethostname():
        return f"process {owner['pid']} on {owner['host']}"
    try:
        started = psutil.Process(owner["pid"]).create_time()
    except psutil.NoSuchProcess:
        return None
    is_same = abs(started - owner["started"]) < _SAME_START_SECONDS
    return f"process {owner['pid']}" if is_same else None


def refuse_live_owner(folder: Path) -> None:
    """Refuse a folder that a live run is using."""
    owner = live_owner(folder)
    if owner is not None:
        raise in_use(folder, owner)


def in_use(folder: Path, owner: str) -> TunesmithError:
    """Build the refusal of a folder that another run is using."""
    return refusal(
        "training.output_in_use",
        f"The output folder {folder} is in use by a live run ({owner}).",
        f"Wait for it, choose another output_dir, or delete {folder / LOCK_FILE} if that run is dead.",
        file=str(folder),
        key="output_dir",
    )


@contextlib.contextmanager
def hold_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock for the length of a block, or refuse when a live run holds it."""
    path = folder / LOCK_FILE
    folder.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = _create(path)
    except FileExistsError:
        refuse_live_owner(folder)
        path.unlink(missing_ok=True)  # stale
        try:
            descriptor = _create(path)
        except FileExistsError:
            raise in_use(folder, "a process that started at the same moment") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump({"pid": os.getpid(), "started": psutil.Process().create_time(), "host": socket.gethostname()}, stream)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _create(path: Path) -> int:
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)


def _is_young(path: Path) -> bool:
    """Say whether a lock without content was made just now, by a process that has not filled it yet."""
    try:
        return time.time() - path.stat().st_mtime < _FILLING_SECONDS
    except FileNotFoundError:
        return False


def _read(path: Path) -> dict[str, Any] | None:
    """Read a lock; one that is absent or was cut off by a kill belongs to nobody."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return data if isinstance(data, dict) and {"pid", "started", "host"} <= set(data) else None
