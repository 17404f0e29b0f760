# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What this process may use of the CPU, read without torch: cores, a container's quota, bf16 units, NUMA nodes."""

import os
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

# Instruction sets that multiply bfloat16 matrices in hardware, the fastest first; others emulate them.
BF16_UNITS = ("amx_bf16", "avx512_bf16", "avx10_2", "bf16", "sve_bf16", "svebf16")
FLAGS = ("avx2", "avx512f", *BF16_UNITS, "amx_tile", "amx_int8", "asimd", "sve")
_CPUINFO, _NODES = Path("/proc/cpuinfo"), Path("/sys/devices/system/node")
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, kw_only=True)
class Cpu:
    """`logical`: hardware threads this process may use; `physical`: their cores; `quota`: cores of a container."""

    name: str
    logical: int
    physical: int
    quota: float | None
    flags: tuple[str, ...]
    numa_nodes: int

    @property
    def bf16_unit(self) -> str | None:
        """Name the unit that multiplies bfloat16 matrices, or None where they are emulated."""
        return next((flag for flag in BF16_UNITS if flag in self.flags), None)


def read_cpu(*, cpuinfo: Path = _CPUINFO, cgroup: Path = _CGROUP, nodes: Path = _NODES) -> Cpu:
    """Read the facts of this machine and container."""
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.is_file() else ""
    allowed = allowed_threads()
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    present = set(flags[1].split()) if flags else set()
    return Cpu(
        name=name[1] if name else platform.processor() or platform.machine(),
        logical=len(allowed),
        physical=count_cores(text, allowed),
        quota=read_quota(cgroup),
        flags=tuple(flag for flag in FLAGS if flag in present),
        numa_nodes=len([node for node in nodes.glob("node*") if node.name[4:].isdigit()]) or 1,
    )


def allowed_threads() -> frozenset[int]:
    """List the hardware threads that this process may run on."""
    return frozenset(os.sched_getaffinity(0)) if sys.platform == "linux" else frozenset(range(os.cpu_count() or 1))


def count_cores(cpuinfo: str, allowed: frozenset[int]) -> int:
    """Count the cores behind some hardware threads: two threads of one core share its arithmetic units."""
    cores = set()
    for block in cpuinfo.split("\n\n"):
        values = {
            name.strip(): value.strip() for name, _, value in (line.partition(":") for line in block.splitlines())
        }
        if "core id" in values and int(values.get("processor", "-1")) in allowed:
            cores.add((values.get("physical id", "0"), values["core id"]))
    known = len(cores) or psutil.cpu_count(logical=False) or len(allowed)
    return max(1, min(known, len(allowed)))


def read_quota(cgroup: Path) -> float | None:
    """Give the cores that the control group may use at once (version 2, else 1); None without a limit."""
    unified = cgroup / "cpu.max"
    if unified.is_file():
        limit, _, period = unified.read_text(encoding="utf-8").strip().partition(" ")
    else:
        files = (cgroup / "cpu" / "cpu.cfs_quota_us", cgroup / "cpu" / "cpu.cfs_period_us")
        if not all(file.is_file() for file in files):
            return None
        limit, period = (file.read_text(encoding="utf-8").strip() for file in files)
    return int(limit) / int(period) if limit.isdigit() and period.isdigit() and int(period) else None
