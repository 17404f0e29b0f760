# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and termination as a flag that a run looks at when a step is done."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from tunesmith.core.progress import say

_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if name in signal.Signals.__members__
)


class InterruptFlag:
    """Set by the first Ctrl-C; the second one interrupts as usual."""

    def __init__(self) -> None:
        self.is_set = False

    @contextlib.contextmanager
    def listen(self) -> Iterator[None]:
        """Catch signals for the length of a block; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, _known(handler))

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.is_set:
            raise KeyboardInterrupt
        self.is_set = True
        say("Interrupted: the step is finished and saved first; once more ends at once.")


def _known(handler: Any) -> Any:
    """A handler that was not set from Python reads as None and cannot be set back."""
    return handler if handler is not None else signal.SIG_DFL
