# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a job in a supervised child process: watches its memory, passes interrupts on, and reads how it ended.

The parent imports no torch; the child gets its job through a file and an argument list, never a shell.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from tunesmith.cli.faults import interrupted, memory_exhausted
from tunesmith.cli.report import Outcome
from tunesmith.cli.threads import thread_environment
from tunesmith.core.errors import Problem, Severity, Where
from tunesmith.core.progress import say

_SAMPLE_SECONDS = 0.2
_IS_WINDOWS = os.name == "nt"
_STDERR = 2
# Signals by which people and schedulers end a process.
_ENDING_SIGNALS = frozenset({1, 2, 15})
# Libraries send no telemetry unless the user's environment asks for it.
NO_TELEMETRY = {"HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}


def run_in_child(job: Mapping[str, Any]) -> Outcome:
    """Run a job (`module`, `command`, `file`, `words`) in a child process and give its outcome."""
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
        job_file, outcome_file = Path(folder, "job.json"), Path(folder, "outcome.json")
        job_file.write_text(json.dumps(dict(job)), encoding="utf-8")
        process = _start(job_file, outcome_file)
        supervisor = _Supervisor(process)
        code = supervisor.wait()
        if outcome_file.is_file():
            return read_outcome(json.loads(outcome_file.read_text(encoding="utf-8")))
        return Outcome(problems=(_lost(code, supervisor),))


def _start(job_file: Path, outcome_file: Path) -> "subprocess.Popen[bytes]":
    # -P keeps files of the current folder from standing in for libraries. The child has a process group of its own, so
    # that a Ctrl-C of the terminal reaches only the parent, and the whole group can be ended.
    words = [sys.executable, "-P", "-m", "tunesmith.cli.child", str(job_file), str(outcome_file)]
    group: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    environment = {**NO_TELEMETRY, **thread_environment(), **os.environ}
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=_STDERR, env=environment, **group)


class _Supervisor:
    """Waits for the child; keeps its largest memory, and passes the first interrupt on."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self.peak_bytes = 0
        self.num_interrupts = 0

    def wait(self) -> int:
        """Wait until the child has ended, and end whatever it left running."""
        restore = self._take_signals()
        try:
            while True:
                try:
                    return self._process.wait(timeout=_SAMPLE_SECONDS)
                except subprocess.TimeoutExpired:
                    self._sample()
        finally:
            self._end_group()
            restore()

    def _sample(self) -> None:
        try:
            root = psutil.Process(self._process.pid)
            family = [root, *root.children(recursive=True)]
            self.peak_bytes = max(self.peak_bytes, sum(member.memory_info().rss for member in family))
        except psutil.Error:
            return

    def _take_signals(self) -> Callable[[], None]:
        if threading.current_thread() is not threading.main_thread():
            return lambda: None
        names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
        numbers = [number for name in names if (number := getattr(signal, name, None)) is not None]
        # What was ignored when we started (nohup, a background job) stays ignored.
        heeded = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
        earlier = {number: signal.signal(number, self._on_signal) for number in heeded}

        def restore() -> None:
            for number, handler in earlier.items():
                signal.signal(number, handler)

        return restore

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.num_interrupts += 1
        if self.num_interrupts > 1:
            self._end_group()
            return
        say("\nInterrupted: the job saves what it can and ends; interrupt again to end it at once.")
        if self._process.poll() is None:
            self._process.send_signal(_interrupt_signal())

    def _end_group(self) -> None:
        if _IS_WINDOWS:
            self._process.kill()
            return
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return


def _interrupt_signal() -> signal.Signals:
    if sys.platform == "win32":
        return signal.CTRL_BREAK_EVENT
    return signal.SIGINT


def read_outcome(data: Mapping[str, Any]) -> Outcome:
    """Read what the child wrote."""
    return Outcome(
        result=data["result"],
        warnings=tuple(_read_problem(problem, "warn") for problem in data["warnings"]),
        told=tuple(_read_problem(problem, "warn") for problem in data.get("told", ())),
        problems=tuple(_read_problem(problem, "refuse") for problem in data["problems"]),
    )


def _read_problem(data: Mapping[str, Any], severity: Severity) -> Problem:
    where = dict(data["where"])
    where["rows"] = tuple(where["rows"]) if where["rows"] is not None else None
    return Problem(
        code=data["code"], message=data["message"], remedy=data["remedy"], where=Where(**where), severity=severity
    )


def _lost(code: int, supervisor: _Supervisor) -> Problem:
    """Name the end of a child that could not say how it ended."""
    if supervisor.num_interrupts or -code in _ENDING_SIGNALS:
        return interrupted()
    peak = f"its last known peak was {supervisor.peak_bytes / 2**30:.2f} GiB"
    if not _IS_WINDOWS and code == -signal.SIGKILL.value:
        free = psutil.virtual_memory().total / 2**30
        return memory_exhausted(
            f"The job's process was killed from outside, by the system because memory ran out, or by hand: {peak}, "
            f"the machine has {free:.1f} GiB."
        )
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
    return Problem(
        code="internal.error_unexpected",
        message=f"The job's process ended with {how} and without a result; {peak}.",
        remedy="Look at the messages above; if they do not explain it, please report them.",
    )
