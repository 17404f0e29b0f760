# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What machine a bench ran on: processor, cores, the instructions that matter, memory, versions."""

import os
import platform
from pathlib import Path
from typing import Any

import psutil
import torch
import transformers

_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile")


def describe_machine() -> dict[str, Any]:
    """Describe this machine without naming it."""
    lines = _cpu_lines()
    flags = lines.get("flags", "").split()
    machine = {
        "cpu": lines.get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "cores_used": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "flags": [flag for flag in _FLAGS if flag in flags],
        "memory_bytes": psutil.virtual_memory().total,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        machine |= {"gpu": properties.name, "gpu_memory_bytes": properties.total_memory, "cuda": torch.version.cuda}
    return machine


def _cpu_lines() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return {}
    pairs = (line.partition(":") for line in path.read_text(encoding="utf-8").splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
