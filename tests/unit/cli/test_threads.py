# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The threads of a job follow the measured load, and never the user's own setting."""

from types import SimpleNamespace

import pytest

from tunesmith.cli import threads
from tunesmith.core.cpu import Cpu

QUIET_CPU = Cpu(name="some", logical=4, physical=4, quota=None, flags=(), numa_nodes=1)


@pytest.mark.parametrize(("share", "expected"), [(0.02, {}), (0.6, {"OMP_WAIT_POLICY": "PASSIVE"})])
def test_threads_sleep_only_beside_busy_processes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], share: float, expected: dict[str, str]
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "read_cpu", lambda: QUIET_CPU)
    monkeypatch.setattr(threads, "_LOAD", SimpleNamespace(busy_share=lambda: share))
    assert threads.thread_environment() == expected
    assert ("60%" in capsys.readouterr().err) is bool(expected)


def test_what_the_user_set_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setattr(threads, "read_cpu", lambda: QUIET_CPU)
    monkeypatch.setattr(threads, "_LOAD", SimpleNamespace(busy_share=lambda: 0.99))
    assert threads.thread_environment() == {}
