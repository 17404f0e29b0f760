# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""How a job's threads are set up: their number, and whether they spin or sleep while they wait for each other.

Decided before torch starts, because it stays as it is then; docs/decisions.md has the measurements.
"""

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from tunesmith.core.cpu import Cpu

WAIT_POLICY, NUM_THREADS = "OMP_WAIT_POLICY", "OMP_NUM_THREADS"
# Variables by which a user decides about waiting; then nothing is decided here.
_USERS_WAIT = (WAIT_POLICY, "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
# Share of all cores that other processes may use for the machine to count as quiet.
QUIET_SHARE = 0.1
# A shorter look at the clocks of the cores, which tick 100 times a second, tells nothing.
_LEAST_SECONDS = 0.12


@dataclass(frozen=True, kw_only=True)
class CpuPolicy:
    """Environment variables for the job, and why: `threads` and `wait` in words."""

    environment: Mapping[str, str]
    threads: str
    wait: str


def choose_policy(cpu: Cpu, *, busy_share: float, environment: Mapping[str, str]) -> CpuPolicy:
    """Choose from the facts and from what other processes use now; what the user set is left alone."""
    chosen: dict[str, str] = {}
    threads, reason = _threads(cpu)
    if NUM_THREADS in environment:
        said = f"{environment[NUM_THREADS]}, as {NUM_THREADS} says"
    else:
        said = f"{threads}, {reason}"
        if threads < cpu.logical:  # else it is what torch takes by itself
            chosen[NUM_THREADS] = str(threads)
    wait = _wait(cpu, threads, busy_share, environment)
    if wait.startswith("sleep"):
        chosen[WAIT_POLICY] = "PASSIVE"
    return CpuPolicy(environment=chosen, threads=said, wait=wait)


def _threads(cpu: Cpu) -> tuple[int, str]:
    if cpu.quota is not None and cpu.quota < cpu.physical:
        return max(1, math.floor(cpu.quota)), f"the container's share of {cpu.quota:g} cores"
    if cpu.physical < cpu.logical:
        return cpu.physical, f"one on each core ({cpu.logical} hardware threads share them)"
    return cpu.physical, "one on each core"


def _wait(cpu: Cpu, threads: int, busy_share: float, environment: Mapping[str, str]) -> str:
    users = next((name for name in _USERS_WAIT if name in environment), None)
    if users is not None:
        return f"as {users}={environment[users]} says"
    if threads == 1 or environment.get(NUM_THREADS) == "1":
        return "not at all: there is one thread"
    if cpu.quota is not None and cpu.quota < cpu.logical:
        return "sleeping: spinning would use up the container's share"
    if busy_share > QUIET_SHARE:
        return f"sleeping: other processes use {busy_share:.0%} of the cores"
    return f"spinning: the machine is quiet ({busy_share:.0%} used by others)"


class LoadMeter:
    """Measures what other processes use of all cores, from its creation to the moment it is asked."""

    def __init__(self) -> None:
        self._began, self._own = time.monotonic(), time.process_time()
        self._times = psutil.cpu_times()

    def busy_share(self) -> float:
        """Give the share of all cores that others used; waits where it was asked too soon."""
        time.sleep(max(0.0, _LEAST_SECONDS - (time.monotonic() - self._began)))
        now, seconds = psutil.cpu_times(), time.monotonic() - self._began
        cores = psutil.cpu_count() or 1
        used = _busy(now) - _busy(self._times) - (time.process_time() - self._own)
        return min(1.0, max(0.0, used / (cores * seconds)))


def _busy(times: object) -> float:
    """Sum the seconds in which a core did something, a guest's and a host's share included."""
    values: dict[str, float] = times._asdict()  # type: ignore[attr-defined]
    idle = {"idle", "iowait", "guest", "guest_nice"}  # guests are counted in user already
    return sum(value for name, value in values.items() if name not in idle)


def wait_policy() -> str:
    """Name the policy this process runs under, for the record of a run."""
    return os.environ.get(WAIT_POLICY, "default").lower()
