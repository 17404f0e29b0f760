# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Names exceptions that no part of the program foresaw: out of memory, disk full, interrupted, or our own mistake."""

import errno
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from tunesmith import __version__
from tunesmith.core.errors import Problem, TunesmithError, Where

# Recognised by name and text, so that the command line needs no torch.
_MEMORY_CLASSES = ("MemoryError", "OutOfMemoryError", "ArrowMemoryError")
_MEMORY_TEXTS = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "out of memory",
)
_DISK_NUMBERS = (errno.ENOSPC, errno.EDQUOT if hasattr(errno, "EDQUOT") else errno.ENOSPC)
_DISK_TEXTS = ("No space left on device", "Disk quota exceeded", "not enough space on the disk")


def problems_of(error: BaseException, folder: Path | None = None) -> tuple[Problem, ...]:
    """Name what an exception means; the traceback of an unexpected one goes into a file, in `folder` if it exists."""
    if isinstance(error, TunesmithError):
        return error.problems
    if isinstance(error, KeyboardInterrupt):
        return (interrupted(),)
    chain = list(_chain(error))
    if any(_is_memory(link) for link in chain):
        return (memory_exhausted(f"The job ran out of memory: {_first_line(error)}"),)
    if any(_is_disk(link) for link in chain):
        return (disk_full(error, folder),)
    return (_unexpected(error, folder),)


def interrupted() -> Problem:
    """Build the problem of an interrupted run."""
    return Problem(
        code="cli.run_interrupted",
        message="The run was interrupted.",
        remedy="Start it again; with resume_from_checkpoint: true it continues from its newest checkpoint.",
    )


def memory_exhausted(message: str) -> Problem:
    """Build the problem of a job without memory."""
    return Problem(
        code="resources.memory_exhausted",
        message=message,
        remedy="Lower per_device_train_batch_size (and raise gradient_accumulation_steps), lower cutoff_len, keep "
        "gradient checkpointing on, or train with finetuning_type: lora.",
    )


def disk_full(error: BaseException, folder: Path | None) -> Problem:
    """Build the problem of a full disk."""
    name = getattr(error, "filename", None) or folder
    return Problem(
        code="resources.disk_full",
        message=f"The disk is full: {_first_line(error)}.",
        remedy="Free space, or choose another output folder; nothing half-written is kept.",
        where=Where(file=str(name) if name else None),
    )


def _unexpected(error: BaseException, folder: Path | None) -> Problem:
    file = _write_traceback(error, folder)
    return Problem(
        code="internal.error_unexpected",
        message=f"An error that tunesmith {__version__} did not foresee: {type(error).__name__}: {_first_line(error)}. "
        f"The traceback is in {file}.",
        remedy="Please report it with that file.",
        where=Where(file=str(file)),
    )


def _write_traceback(error: BaseException, folder: Path | None) -> Path:
    text = "".join(traceback.format_exception(error))
    name = time.strftime("tunesmith-error-%Y%m%d-%H%M%S-")
    for place in (folder if folder is not None and folder.is_dir() else None, None):
        try:
            with tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", dir=place, prefix=name, suffix=".txt", delete=False
            ) as file:
                file.write(text)
            return Path(file.name)
        except OSError:
            continue
    return Path("(no place to write it)")


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _is_memory(error: BaseException) -> bool:
    text = str(error)
    return type(error).__name__ in _MEMORY_CLASSES or (
        isinstance(error, RuntimeError | OSError) and any(part in text for part in _MEMORY_TEXTS)
    )


def _is_disk(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _DISK_NUMBERS:
        return True
    return any(part in str(error) for part in _DISK_TEXTS)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300].rstrip(".") if lines else type(error).__name__
