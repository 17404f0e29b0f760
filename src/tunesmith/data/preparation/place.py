# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Where shards are kept, which process makes them, and how much room they may take.

Shards lie in the folder of `tokenized_path`, or else in the user's cache, whose oldest shards go when it grows too
large; deleting any of them only means that they are made again.
"""

import os
import tempfile
import time
from pathlib import Path

from tunesmith.config.run import RunConfig
from tunesmith.core.errors import warning
from tunesmith.core.report import emit_warning
from tunesmith.data.preparation.engine import EngineRules
from tunesmith.models.cache import user_cache

MAX_CACHE_BYTES = 64 * 10**9
# A shard used so recently may be in use by a run.
_IN_USE_SECONDS = 7 * 86400


def engine_rules(config: RunConfig) -> EngineRules:
    """Give the rules of preparation for this process of a run."""
    data = config.data
    rank = "RANK" if data.data_shared_file_system else "LOCAL_RANK"
    return EngineRules(
        folder=shard_folder(config),
        num_workers=data.preprocessing_num_workers,
        is_overwriting=data.overwrite_cache,
        is_waiting=int(os.environ.get(rank, "0")) > 0,
    )


def shard_folder(config: RunConfig) -> Path:
    """Give the folder for shards; a cache that cannot be written is replaced by a temporary folder."""
    if config.data.tokenized_path is not None:
        folder = Path(config.data.tokenized_path).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    return cache_folder("prepared")


def cache_folder(name: str) -> Path:
    """Give a folder of the user's cache, or a temporary one where that cannot be written."""
    folder = user_cache() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
        reason = "it is not writable"
    except OSError as error:
        reason = str(error)
    other = Path(tempfile.gettempdir()) / f"tunesmith-{os.getlogin() if os.name == 'nt' else os.getuid()}" / name
    other.mkdir(parents=True, exist_ok=True)
    emit_warning(
        warning(
            "data.cache_unwritable",
            f"Prepared data cannot be kept in {folder}: {reason}. It is kept in {other}.",
            "Set tokenized_path, or the environment variable TUNESMITH_CACHE, to a folder that can be written.",
        )
    )
    return other


def keep_small(folder: Path, config: RunConfig, *, limit: int = MAX_CACHE_BYTES) -> None:
    """Remove the shards of a cache that were not used for longest, when it is beyond its limit."""
    if config.data.tokenized_path is None:
        prune(folder, limit=limit, now=time.time())


def prune(folder: Path, *, limit: int, now: float) -> int:
    """Remove old shards until the others are within the limit, and what kills left; give the number removed."""
    for leftover in folder.glob("??/.*"):
        if now - leftover.stat().st_mtime > _IN_USE_SECONDS:
            leftover.unlink(missing_ok=True)
    found = [(entry.stat(), entry) for entry in folder.glob("??/*.npy")]
    total, removed = sum(stat.st_size for stat, _ in found), 0
    for stat, path in sorted(found, key=lambda item: (item[0].st_mtime, item[1].name)):
        if total <= limit or now - stat.st_mtime < _IN_USE_SECONDS:
            break
        path.with_suffix(".json").unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        total -= stat.st_size
        removed += 1
    return removed
