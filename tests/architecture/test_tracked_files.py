# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Tracked files name no path of the machine they were written on and no host of a package registry."""

import re

import pytest

from tests.architecture.source import ROOT, tracked_files

MACHINE_PATHS = ("/work/" + "main", "/work/" + "shared", "/work/" + ".library", "/opt/" + "pypi", "/root" + "/")
REGISTRY_HOSTS = ("pypi" + ".org", "pythonhosted" + ".org", "registry.npm" + "js", "deb.debian" + ".org")
FORBIDDEN = re.compile("|".join(re.escape(text) for text in (*MACHINE_PATHS, *REGISTRY_HOSTS)))
MAX_BYTES = 2_000_000


def test_no_machine_path_and_no_registry_host() -> None:
    files = tracked_files()
    if not files:
        pytest.skip("this is not a git checkout")
    found = []
    for path in files:
        text = path.read_bytes().decode("utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {match.group()}" for match in FORBIDDEN.finditer(text)]
    assert not found, "\n".join(found)


def test_no_large_file_is_tracked() -> None:
    large = [str(path.relative_to(ROOT)) for path in tracked_files() if path.stat().st_size > MAX_BYTES]
    assert not large, "\n".join(large)


def test_python_files_are_portable_names() -> None:
    names = [path.relative_to(ROOT).as_posix() for path in tracked_files()]
    lowered = [name.lower() for name in names]
    assert len(set(lowered)) == len(lowered), "two tracked files differ only in case"
    strange = [name for name in names if not re.fullmatch(r"[\w./-]+", name, re.ASCII)]
    assert not strange, f"names that not every system can hold: {strange}"
