# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What a person sees while a command works: one line a message, and a progress line with rate and remaining time.

Everything goes to stderr; stdout belongs to results. On a terminal the progress line is redrawn in place, elsewhere a
line is written every few seconds.
"""

import sys
import time

_TERMINAL_INTERVAL = 0.2
_FILE_INTERVAL = 10.0


def say(text: str) -> None:
    """Write one line to stderr."""
    print(text, file=sys.stderr, flush=True)


def format_seconds(seconds: float) -> str:
    """Write a duration as 0:07, 3:21 or 1:02:03."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{secs:02d}" if hours else f"{minutes}:{secs:02d}"


class Progress:
    """A progress line: `label 120/800 · 35.1 rows/s · 0:19 left · detail`."""

    def __init__(self, label: str, total: int, unit: str, *, start: int = 0) -> None:
        """`start` is work already done before (a resume); it does not count in the rate."""
        self._label, self._total, self._unit = label, total, unit
        self._start = self._done = start
        self._began = time.monotonic()
        self._shown = 0.0
        self._is_terminal = sys.stderr.isatty()
        self._width = 0

    def advance(self, amount: int = 1, detail: str = "") -> None:
        """Count work done and redraw when enough time has passed."""
        self._done += amount
        now = time.monotonic()
        interval = _TERMINAL_INTERVAL if self._is_terminal else _FILE_INTERVAL
        if now - self._shown >= interval or self._done >= self._total:
            self._shown = now
            self._draw(now - self._began, detail)

    def close(self) -> None:
        """End the line, so that the next message starts on a fresh one."""
        if self._is_terminal and self._width:
            print(file=sys.stderr, flush=True)
            self._width = 0

    def _draw(self, elapsed: float, detail: str) -> None:
        done = self._done - self._start
        rate = done / elapsed if elapsed > 0 else 0.0
        left = (self._total - self._done) / rate if rate > 0 else 0.0
        text = f"{self._label} {self._done}/{self._total} · {rate:.1f} {self._unit}/s · {format_seconds(left)} left"
        text += f" · {detail}" if detail else ""
        if self._is_terminal:
            print("\r" + text.ljust(self._width), end="", file=sys.stderr, flush=True)
            self._width = len(text)
        else:
            say(text)
