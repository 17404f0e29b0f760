# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The cache folder follows TUNESMITH_CACHE, else the platform's custom."""

from pathlib import Path

import pytest

from tunesmith.models.cache import user_cache


def test_override_and_platforms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path))
    assert user_cache() == tmp_path
    monkeypatch.delenv("TUNESMITH_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert user_cache() == tmp_path / "xdg" / "tunesmith"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert user_cache() == Path.home() / ".cache" / "tunesmith"
    monkeypatch.setattr("sys.platform", "darwin")
    assert user_cache() == Path.home() / "Library" / "Caches" / "tunesmith"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert user_cache() == tmp_path / "local" / "tunesmith" / "Cache"
