# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Facts of the processor from made-up system files, and the thread policy they lead to."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tunesmith.core.cpu import Cpu, allowed_threads, count_cores, read_cpu, read_quota
from tunesmith.core.cpu_policy import LoadMeter, choose_policy

CPU = Cpu(name="some", logical=8, physical=8, quota=None, flags=("avx2",), numa_nodes=1)


def cpuinfo(*, cores: int, threads_a_core: int = 1, flags: str = "fpu avx2") -> str:
    blocks = [
        f"processor\t: {number}\nmodel name: Some CPU\nphysical id\t: 0\ncore id\t: {number % cores}\nflags\t: {flags}"
        for number in range(cores * threads_a_core)
    ]
    return "\n\n".join(blocks) + "\n"


def write(folder: Path, text: str, name: str = "cpuinfo") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("flags", "unit"),
    [
        ("fpu avx2 avx512f avx512_bf16 amx_bf16 amx_tile", "amx_bf16"),
        ("fpu avx2 avx512f avx512_bf16", "avx512_bf16"),
        ("fpu avx2 avx512f", None),
        ("fp asimd bf16 sve", "bf16"),
    ],
)
def test_the_bf16_unit_is_named(tmp_path: Path, flags: str, unit: str | None) -> None:
    cpu = read_cpu(cpuinfo=write(tmp_path, cpuinfo(cores=2, flags=flags)), cgroup=tmp_path, nodes=tmp_path)
    assert cpu.bf16_unit == unit
    assert cpu.name == "Some CPU" and cpu.numa_nodes == 1


def test_two_threads_of_a_core_are_one_core() -> None:
    text = cpuinfo(cores=4, threads_a_core=2)
    assert count_cores(text, frozenset(range(8))) == 4
    assert count_cores(text, frozenset({0, 4})) == 1
    assert count_cores(text, frozenset({0, 1, 4})) == 2


def test_without_cpuinfo_no_more_cores_than_allowed_are_counted(tmp_path: Path) -> None:
    cpu = read_cpu(cpuinfo=tmp_path / "none", cgroup=tmp_path, nodes=tmp_path)
    assert 1 <= cpu.physical <= cpu.logical == len(allowed_threads())
    assert cpu.bf16_unit is None


def test_the_quota_of_both_kinds_of_control_groups(tmp_path: Path) -> None:
    assert read_quota(tmp_path) is None
    (tmp_path / "cpu").mkdir()
    write(tmp_path / "cpu", "150000\n", "cpu.cfs_quota_us")
    write(tmp_path / "cpu", "100000\n", "cpu.cfs_period_us")
    assert read_quota(tmp_path) == 1.5
    write(tmp_path, "max 100000\n", "cpu.max")
    assert read_quota(tmp_path) is None
    write(tmp_path, "250000 100000\n", "cpu.max")
    assert read_quota(tmp_path) == 2.5


def test_memory_nodes_are_counted(tmp_path: Path) -> None:
    for name in ("node0", "node1", "nodes_online"):
        (tmp_path / name).mkdir()
    assert read_cpu(cgroup=tmp_path, nodes=tmp_path).numa_nodes == 2


@pytest.mark.parametrize(
    ("cpu", "busy", "environment", "chosen"),
    [
        (CPU, 0.02, {}, {}),
        (CPU, 0.5, {}, {"OMP_WAIT_POLICY": "PASSIVE"}),
        (replace(CPU, physical=4), 0.0, {}, {"OMP_NUM_THREADS": "4"}),
        (replace(CPU, physical=4), 0.0, {"OMP_NUM_THREADS": "8"}, {}),
        (replace(CPU, quota=2.5), 0.0, {}, {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}),
        (replace(CPU, quota=0.5), 0.9, {}, {"OMP_NUM_THREADS": "1"}),
        (CPU, 0.9, {"OMP_NUM_THREADS": "1"}, {}),
        (CPU, 0.9, {"OMP_WAIT_POLICY": "ACTIVE"}, {}),
        (CPU, 0.9, {"GOMP_SPINCOUNT": "1000"}, {}),
        (CPU, 0.9, {"KMP_BLOCKTIME": "0"}, {}),
    ],
)
def test_threads_and_waiting_follow_from_the_machine(
    cpu: Cpu, busy: float, environment: dict[str, str], chosen: dict[str, str]
) -> None:
    policy = choose_policy(cpu, busy_share=busy, environment=environment)
    assert policy.environment == chosen
    assert policy.threads and policy.wait


def test_the_meter_sees_another_process_and_not_this_one() -> None:
    with subprocess.Popen([sys.executable, "-c", "print(1, flush=True)\nwhile True: pass"], stdout=-1) as other:
        assert other.stdout is not None
        other.stdout.readline()
        load = LoadMeter()
        busy = max(load.busy_share(), load.busy_share(), LoadMeter().busy_share())
        other.kill()
    assert busy > 0.1 / len(allowed_threads())
