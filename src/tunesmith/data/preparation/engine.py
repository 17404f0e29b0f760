# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Makes the shards that are missing, in this process or, when that pays, in workers; finished ones are never redone.

What is made does not depend on how: the same bytes for any number of workers.
"""

import contextlib
import gc
import hashlib
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.core.errors import refusal
from tunesmith.core.progress import Progress, say
from tunesmith.data.preparation.lock import hold_preparation, is_held
from tunesmith.data.preparation.shards import Shard, find_shard
from tunesmith.data.preparation.workers import (
    Bench,
    StartMethod,
    Task,
    Workshop,
    make_in_workers,
    safe_start_method,
)

# Seconds until workers have started and loaded what they need, measured on two cores.
START_SECONDS: Mapping[StartMethod, float] = {"fork": 0.1, "spawn": 5.0}
# The first blocks are encoded here anyway: they show how fast it goes.
_TRIAL_SECONDS = 0.25
_WAIT_SECONDS = 0.5
_GRACE_SECONDS = 600.0


@dataclass(frozen=True, kw_only=True)
class EngineRules:
    """Where shards lie and who makes them; nothing here changes what is in them.

    `num_workers` None: as many as there are cores, when they pay. `is_eager` starts them at once. A process that
    `is_waiting` makes nothing: another rank does.
    """

    folder: Path
    num_workers: int | None = None
    start_method: StartMethod | None = None
    is_eager: bool = False
    is_overwriting: bool = False
    is_waiting: bool = False


@dataclass(frozen=True, kw_only=True)
class Made:
    """The shards of all tasks, by place, and what it took; `num_rows` were encoded now."""

    shards: Mapping[Path, Shard]
    num_made: int
    num_reused: int
    num_rows: int
    num_workers: int
    seconds: float


def make_shards(workshop: Workshop, tasks: Sequence[Task], rules: EngineRules) -> Made:
    """Find or make the shards of all tasks."""
    started = time.monotonic()
    distinct = {task.path: task for task in tasks}
    found = {} if rules.is_overwriting else _find(distinct)
    missing = [task for path, task in distinct.items() if path not in found]
    num_reused, run = len(found), _Run(workshop, rules)
    if missing and rules.is_waiting:
        found |= _wait_for(missing, rules.folder)
    elif missing:
        with hold_preparation(_lock_path(rules.folder, missing)):
            made_by_others = {} if rules.is_overwriting else _find({task.path: task for task in missing})
            found |= made_by_others
            for task, shard in run.make([task for task in missing if task.path not in made_by_others]):
                found[task.path] = shard
    return Made(
        shards=found,
        num_made=run.num_made,
        num_reused=num_reused,
        num_rows=run.num_rows,
        num_workers=run.num_workers,
        seconds=time.monotonic() - started,
    )


def find_shards(paths: Sequence[Path]) -> Made:
    """Find shards that are all there."""
    shards = {path: shard for path in paths if (shard := find_shard(path)) is not None}
    assert len(shards) == len(set(paths)), "the shards were there a moment ago"
    return Made(shards=shards, num_made=0, num_reused=len(shards), num_rows=0, num_workers=0, seconds=0.0)


def num_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class _Run:
    """One pass over missing shards, and what it has done."""

    def __init__(self, workshop: Workshop, rules: EngineRules) -> None:
        self._workshop, self._rules = workshop, rules
        self.num_made = self.num_rows = self.num_workers = 0

    def make(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Shard]]:
        """Make shards, here at first."""
        if not tasks:
            return
        progress = Progress("Preparing data", sum(task.block.num_chosen for task in tasks), "rows")
        # What is there now stays: the collector need not walk over it again and again (a sixth of the time).
        gc.freeze()
        try:
            for task, shard in self._make(tasks):
                self.num_made += 1
                self.num_rows += task.block.num_chosen
                progress.advance(task.block.num_chosen)
                yield task, shard
        finally:
            gc.unfreeze()
            progress.close()

    def _make(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Shard]]:
        bench = Bench(self._workshop)
        bench.expect(sum(task.block.num_chosen for task in tasks))
        method = self._rules.start_method or safe_start_method()
        begun = time.monotonic()
        for number, task in enumerate(tasks):
            rest = tasks[number:]
            workers = self._num_workers(rest)
            # Copies of this process have what it has: it pays to get ready once, before it is copied.
            waits = method == "fork" and bench.is_getting_ready()
            if workers > 1 and (self._rules.is_eager or (not waits and self._pays(rest, method, begun, workers))):
                self.num_workers = workers
                say(f"Data is prepared in {workers} processes.")
                yield from make_in_workers(self._workshop, rest, num_workers=workers, start_method=method, bench=bench)
                return
            yield task, bench.make(task)

    def _num_workers(self, rest: Sequence[Task]) -> int:
        asked = num_cores() if self._rules.num_workers is None else self._rules.num_workers
        return min(asked, num_cores(), len(rest)) if not self._rules.is_eager else min(asked, len(rest))

    def _pays(self, rest: Sequence[Task], method: StartMethod, begun: float, workers: int) -> bool:
        """Say whether workers save more time than it takes to start them, going by the speed so far."""
        seconds = time.monotonic() - begun
        if seconds < _TRIAL_SECONDS or not self.num_rows:
            return False
        expected = seconds / self.num_rows * sum(task.block.num_chosen for task in rest)
        return expected * (1 - 1 / workers) > START_SECONDS[method]


def _find(tasks: Mapping[Path, Task]) -> dict[Path, Shard]:
    shards = {path: find_shard(path) for path in tasks}
    found = {path: shard for path, shard in shards.items() if shard is not None}
    for shard in found.values():
        with contextlib.suppress(OSError):  # another user's, who lets us read
            os.utime(shard.data_path)  # The cache keeps what was used last.
    return found


def _lock_path(folder: Path, tasks: Sequence[Task]) -> Path:
    """Name the lock after the last shard that is missing: whoever needs the same data needs that one."""
    name = hashlib.sha256(tasks[-1].path.name.encode()).hexdigest()[:24]
    return folder / f"{name}.lock"


def _wait_for(tasks: Sequence[Task], folder: Path) -> dict[Path, Shard]:
    """Wait until another rank has made all shards; without any sign of it for a long time, refuse."""
    say("Another rank prepares the data; waiting for it.")
    found: dict[Path, Shard] = {}
    missing = {task.path: task for task in tasks}
    seen = time.monotonic()
    while missing:
        new = _find(missing)
        found |= new
        missing = {path: task for path, task in missing.items() if path not in new}
        if new or is_held(_lock_path(folder, tasks)):
            seen = time.monotonic()
        elif time.monotonic() - seen > _GRACE_SECONDS:
            raise refusal(
                "data.preparation_absent",
                f"No rank prepared the data within {_GRACE_SECONDS:.0f} s: {len(missing)} of {len(tasks)} parts are "
                f"missing in {folder}.",
                "Look at the log of rank 0, prepare the data before with `tunesmith prepare`, or set "
                "data_shared_file_system as it is.",
            )
        if missing:
            time.sleep(_WAIT_SECONDS)
    return found
