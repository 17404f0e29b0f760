# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""One process at a time makes the same shards: a lock on a file, which the system lets go when its holder dies."""

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tunesmith.core.progress import say

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_POLL_SECONDS = 0.2


@contextlib.contextmanager
def hold_preparation(path: Path) -> Iterator[None]:
    """Wait until no other process holds the lock, and hold it for the length of a block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        if not _take(stream):
            say("Another process is preparing the same data; waiting for it.")
            while not _take(stream):
                time.sleep(_POLL_SECONDS)
        yield
    with contextlib.suppress(OSError):  # Windows keeps files that another process waits for.
        path.unlink(missing_ok=True)


def is_held(path: Path) -> bool:
    """Say whether a process is holding the lock."""
    if not path.exists():
        return False
    with path.open("a", encoding="utf-8") as stream:
        return not _take(stream)


def _take(stream: IO[str]) -> bool:
    """Take the lock if it is free; a file system without locks counts as free."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True
    return True
