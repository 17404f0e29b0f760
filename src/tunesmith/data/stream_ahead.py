# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The parts of a stream prepared by a process of its own while training goes on.

A part that cannot be prepared fails when its turn comes, as it would without look-ahead.
"""

import multiprocessing
import os
import queue
import signal
import threading
import traceback
from multiprocessing.process import BaseProcess
from typing import Any

from tunesmith.core.errors import TunesmithError, refusal
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
        part, error, text = self._next_result()
        if error is not None:
            raise TunesmithError(error)
        if text is not None:
            raise RuntimeError(f"the look-ahead failed:\n{text}")
        assert isinstance(part, StreamPart)
        return part

    def _next_result(self) -> Any:
        """Wait for what the process sends, as long as it lives; what it sent before its end still counts."""
        is_alive = True
        while is_alive:
            is_alive = self._process.is_alive()
            try:
                return self._queue.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
        raise refusal(
            "resources.worker_killed",
            "The process that prepares the stream was ended from outside, most often for lack of memory (exit code "
            f"{self._process.exitcode}).",
            "Continue from the last checkpoint with a smaller buffer_size.",
            key="buffer_size",
        )

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join()
        for each in (self._order, self._queue):
            each.cancel_join_thread()
            each.close()


def _produce(order: Any, results: Any) -> None:
    """Prepare parts until one fails; the process ends with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interruption means
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the cores belong to training
    try:
        recipe, start, number = order.get()
        for name in recipe.plugins:
            import_by_name(name)
        for part in PartReader(recipe).parts(start, number):
            results.put((part, None, None))
    except TunesmithError as error:
        results.put((None, error.problems, None))
    except Exception:  # whatever it is, the parent must hear of it
        results.put((None, None, traceback.format_exc()))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
