# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Files that are whole or absent: atomic writes, and hashes of what lies on disk."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def sha256_file(path: Path) -> str:
    """Hash a file's bytes (hex)."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_text_atomic(path: Path, text: str) -> None:
    """Write a UTF-8 text file so that a reader, or a crash, sees the old or the new text and nothing between."""
    write_bytes_atomic(path, text.encode("utf-8"))


def write_bytes_atomic(path: Path, data: bytes) -> None:
    """Write a file through a temporary neighbour, flushed to disk, then renamed over the target."""
    with write_stream_atomic(path) as stream:
        stream.write(data)


@contextlib.contextmanager
def write_stream_atomic(path: Path) -> Iterator[BinaryIO]:
    """Yield an open temporary neighbour of a file; on success flush it and rename it over the target, else remove it.

    Closing the stream inside the block is allowed: libraries do so with what they write.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            if not stream.closed:
                stream.flush()
                os.fsync(stream.fileno())
        temporary.chmod(shared_mode(0o666))
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def write_folder_atomic(folder: Path) -> Iterator[Path]:
    """Yield a temporary neighbour folder; on success flush all files and rename it to `folder`, else remove it.

    `folder` must not exist when the block ends. A kill leaves only a folder named `.<name>.partial-…`, which
    `remove_partials` clears.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.partial-"))
    try:
        yield temporary
        sync_tree(temporary)
        temporary.chmod(shared_mode(0o777))
        temporary.rename(folder)
        sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def shared_mode(mode: int) -> int:
    """Apply the user's umask: temporary files are private, the finished ones are what any program would have made."""
    mask = os.umask(0)
    os.umask(mask)
    return mode & ~mask


def remove_partials(parent: Path, name: str = "") -> None:
    """Remove what a killed `write_folder_atomic` left behind in `parent` (for one folder name, or all)."""
    for leftover in parent.glob(f".{name or '*'}.partial-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def sync_tree(folder: Path) -> None:
    """Flush every file below a folder, and the folder entries, to disk; private files get the user's usual mode."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            path.chmod(shared_mode(0o666))
            descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        elif path.is_dir():
            sync_folder(path)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries; Windows cannot open folders and needs no such call."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
