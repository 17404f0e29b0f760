# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Where tunesmith keeps what it can make again: one folder per user, moved by TUNESMITH_CACHE."""

import os
import sys
from pathlib import Path


def user_cache() -> Path:
    """Give the cache folder of this user and platform (it need not exist yet)."""
    override = os.environ.get("TUNESMITH_CACHE")
    if override:
        return Path(override).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return (Path(base) if base else Path.home() / "AppData" / "Local") / "tunesmith" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "tunesmith"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tunesmith"
