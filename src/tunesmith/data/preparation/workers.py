# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Worker processes that encode blocks and write their shards; each builds tokenizer and template once.

Few blocks are under way at a time, results are a few numbers, and no worker outlives the process that started it.
"""

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from tunesmith.core.errors import Problem, TunesmithError, refusal
from tunesmith.core.folder_code import imported_code
from tunesmith.core.optional import import_by_name
from tunesmith.core.types import RowKind
from tunesmith.data.blocks import Block
from tunesmith.data.encoders.base import EncodeRules, encoders
from tunesmith.data.preparation.encoding import Recipe, encode_block
from tunesmith.data.preparation.shards import Shard, write_shard
from tunesmith.data.recognition import Reading

StartMethod = Literal["fork", "spawn"]

# Blocks a worker has waiting besides the one it works on.
_WAITING = 1


@dataclass(frozen=True, kw_only=True)
class Task:
    """A block, how it is read, and where its shard is to lie."""

    block: Block
    reading: Reading
    path: Path


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What every process needs to encode blocks of one kind; `plugins` are modules to import first."""

    kind: RowKind
    rules: EncodeRules
    plugins: tuple[str, ...] = ()


class Bench:
    """Encodes blocks in this process, with an encoder that is built once."""

    def __init__(self, workshop: Workshop) -> None:
        self._kind = workshop.kind
        self._encoder = encoders.get(workshop.kind)(workshop.rules)

    def expect(self, num_rows: int) -> None:
        """Get ready for many rows, beside other work."""
        self._encoder.expect(num_rows)

    def is_getting_ready(self) -> bool:
        """Say whether that is still going on."""
        return self._encoder.is_getting_ready()

    def make(self, task: Task) -> Shard:
        """Encode a block and write its shard."""
        recipe = Recipe(kind=self._kind, reading=task.reading, encoder=self._encoder)
        return write_shard(task.path, encode_block(task.block, recipe))


def safe_start_method() -> StartMethod:
    """Choose how workers start: copied where this process has no working threads and no GPU in use, else anew.

    Threads that only wait for something, such as the end of a parent, are daemons.
    """
    others = [thread for thread in threading.enumerate() if thread is not threading.current_thread()]
    is_alone = all(thread.daemon for thread in others) and not torch.cuda.is_initialized()
    return "fork" if sys.platform == "linux" and is_alone else "spawn"


def make_in_workers(
    workshop: Workshop, tasks: Sequence[Task], *, num_workers: int, start_method: StartMethod, bench: Bench
) -> Iterator[tuple[Task, Shard]]:
    """Make shards in worker processes; they come as they are finished. Copied workers go on with a copy of `bench`."""
    executor = ProcessPoolExecutor(
        num_workers,
        mp_context=multiprocessing.get_context(start_method),
        initializer=_begin,
        # The code first: a tokenizer may be of a class from a model's folder.
        initargs=(imported_code(), workshop, bench if start_method == "fork" else None, Path.cwd(), tuple(sys.path)),
    )
    others = set(multiprocessing.active_children())
    try:
        with _quiet_threads():
            yield from _run(executor, tasks, num_workers * (1 + _WAITING))
    except BaseException:
        # Workers are ended, not asked: shards are whole or absent, and an interrupted process may be unable to ask.
        for worker in set(multiprocessing.active_children()) - others:
            worker.kill()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _run(executor: ProcessPoolExecutor, tasks: Sequence[Task], most: int) -> Iterator[tuple[Task, Shard]]:
    waiting = iter(tasks)
    running: dict[Future[Shard | tuple[Problem, ...]], Task] = {}
    while True:
        for task in waiting:
            running[_submit(executor, task)] = task
            if len(running) >= most:
                break
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            task = running.pop(future)
            yield task, _result(future, task)


def _submit(executor: ProcessPoolExecutor, task: Task) -> Future[Shard | tuple[Problem, ...]]:
    try:
        return executor.submit(_work, task)
    except BrokenProcessPool as error:
        raise _died(task) from error


def _result(future: Future[Shard | tuple[Problem, ...]], task: Task) -> Shard:
    try:
        result = future.result()
    except BrokenProcessPool as error:
        raise _died(task) from error
    if isinstance(result, tuple):
        raise TunesmithError(result)
    return result


def _died(task: Task) -> TunesmithError:
    rows = task.block.span
    return refusal(
        "resources.worker_killed",
        f"A process that prepared data was ended from outside, most often for lack of memory (about row "
        f"{rows.start.row} of {task.block.file}). What it had finished is kept.",
        "Start again with fewer processes: preprocessing_num_workers: 1, or a smaller preprocessing_batch_size.",
        file=task.block.file,
        key="preprocessing_num_workers",
    )


@contextlib.contextmanager
def _quiet_threads() -> Iterator[None]:
    """Keep the libraries of new processes to one thread each; the settings of this process come back."""
    names = {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


# The one bench of a worker process.
_benches: list[Bench] = []


def _begin(_: object, workshop: Workshop, bench: Bench | None, folder: Path, path: tuple[str, ...]) -> None:
    """Set a worker up: Ctrl-C is the parent's to handle, and the worker ends with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.chdir(folder)
    sys.path[:] = path
    for name in workshop.plugins:
        import_by_name(name)
    _benches[:] = [bench or Bench(workshop)]
    gc.freeze()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(task: Task) -> Shard | tuple[Problem, ...]:
    (bench,) = _benches
    try:
        return bench.make(task)
    except TunesmithError as error:  # Its problems are plain data; the exception itself does not travel.
        return error.problems
