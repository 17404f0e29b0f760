# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The wait policy of threads follows the measured load, and never the user's own setting."""

import psutil
import pytest

from tunesmith.cli.threads import WAIT_POLICY, thread_environment


@pytest.mark.parametrize(("percent", "expected"), [(2.0, {}), (60.0, {WAIT_POLICY: "PASSIVE"})])
def test_threads_sleep_only_beside_busy_processes(
    monkeypatch: pytest.MonkeyPatch, percent: float, expected: dict[str, str]
) -> None:
    monkeypatch.delenv(WAIT_POLICY, raising=False)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval: percent)
    assert thread_environment() == expected


def test_what_the_user_set_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WAIT_POLICY, "ACTIVE")
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval: 99.0)
    assert thread_environment() == {}
