# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Import of optional packages, with a coded error that names the extra to install."""

import importlib
import importlib.util
from types import ModuleType

from tunesmith.core.errors import refusal


def has_package(name: str) -> bool:
    """Say whether a top-level package is installed, without importing it."""
    return importlib.util.find_spec(name) is not None


def import_optional(name: str, *, extra: str, needed_for: str) -> ModuleType:
    """Import an optional module, or refuse with the extra that brings it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise refusal(
            "environment.package_missing",
            f"{needed_for} needs the package {name!r}, which cannot be imported here: {error}.",
            f"Install it with: pip install 'tunesmith[{extra}]'.",
        ) from error


def import_by_name(name: str) -> ModuleType:
    """Import a module whose name is computed: a job of the command line, or a plugin that the user names."""
    return importlib.import_module(name)
