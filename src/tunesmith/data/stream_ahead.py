# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The parts of a stream prepared by a process of its own while training goes on.

A part that cannot be prepared fails when its turn comes, as it would without look-ahead.
"""

import multiprocessing
import os
import queue
import signal
import traceback
from multiprocessing.process import BaseProcess
from typing import Any

from tunesmith.core.errors import TunesmithError
from tunesmith.core.optional import import_by_name
from tunesmith.data.stream_parts import PartReader, StreamPart, StreamRecipe

# Parts that wait to be used. Each holds some thousand rows.
_DEPTH = 2
_POLL_SECONDS = 1.0


class PartsAhead:
    """Iterates over the parts of a stream from one on."""

    def __init__(self, recipe: StreamRecipe, first: StreamPart) -> None:
        """`first` is prepared already; the process begins behind it."""
        self._first: StreamPart | None = first
        # A fresh interpreter: forking a process with the threads of torch and tokenizers may hang.
        context = multiprocessing.get_context("spawn")
        self._queue: Any = context.Queue(maxsize=_DEPTH)
        self._order: Any = context.Queue()
        self._process: BaseProcess = context.Process(target=_produce, args=(self._order, self._queue), daemon=True)
        self._process.start()
        # Through a queue, because `args` would be written while the new process imports, and be waited for.
        self._order.put((recipe, first.start, first.number + 1))

    def __iter__(self) -> "PartsAhead":
        return self

    def __next__(self) -> StreamPart:
        """Give the next part; raise what made it fail."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        while True:
            try:
                part, error, text = self._queue.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                if not self._process.is_alive():
                    raise RuntimeError(f"the look-ahead ended with exit code {self._process.exitcode}") from None
                continue
            if error is not None:
                raise TunesmithError(error)
            if text is not None:
                raise RuntimeError(f"the look-ahead failed:\n{text}")
            assert isinstance(part, StreamPart)
            return part

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join()
        for each in (self._order, self._queue):
            each.cancel_join_thread()
            each.close()


def _produce(order: Any, results: Any) -> None:
    """Prepare parts until the parent ends or one fails."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interruption means
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the cores belong to training
    try:
        recipe, start, number = order.get()
        for name in recipe.plugins:
            import_by_name(name)
        parts = PartReader(recipe).parts(start, number)
        while _put(results, (next(parts), None, None)):
            pass
    except TunesmithError as error:
        _put(results, (None, error.problems, None))
    except Exception:  # whatever it is, the parent must hear of it
        _put(results, (None, None, traceback.format_exc()))


def _put(results: Any, item: tuple[Any, ...]) -> bool:
    """Wait for a free place as long as there is someone to read; say whether there was."""
    parent = multiprocessing.parent_process()
    while parent is not None and parent.is_alive():
        try:
            results.put(item, timeout=_POLL_SECONDS)
        except queue.Full:
            continue
        return True
    return False
