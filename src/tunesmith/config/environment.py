# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Puts environment variables into values: `$NAME` and `${NAME}`; `$$` is a plain `$`."""

import os
import re
from dataclasses import replace
from typing import Any

from tunesmith.config.source import Entry, read_scalar
from tunesmith.core.errors import Problem
from tunesmith.core.names import nearest

_VARIABLE = re.compile(r"\$(?:(\$)|([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")


class _UnsetError(KeyError):
    """A variable that is not set."""


def substitute(entry: Entry) -> Entry | Problem:
    """Replace the variables in an entry's value, also inside lists and mappings; an unset one is a problem."""
    try:
        value = _substitute(entry.value)
    except _UnsetError as error:
        name = error.args[0]
        return Problem(
            code="config.variable_unset",
            message=f"The value of {entry.key} uses the environment variable {name}, which is not set.",
            remedy=f"Set {name}, or write $$ for a plain $." + nearest(name, os.environ),
            where=entry.where(),
        )
    if value == entry.value:
        return entry
    if isinstance(value, str):
        read, text = read_scalar(value)
        return replace(entry, value=read, text=text)
    return replace(entry, value=value)


def escape(value: Any) -> Any:
    """Write `$$` for each `$`, so that reading the value again gives it back."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, list | tuple):
        return [escape(item) for item in value]
    if isinstance(value, dict):
        return {key: escape(item) for key, item in value.items()}
    return value


def _substitute(value: Any) -> Any:
    if isinstance(value, str):
        return _VARIABLE.sub(_look_up, value) if "$" in value else value
    if isinstance(value, list):
        return [_substitute(item) for item in value]
    if isinstance(value, dict):
        return {key: _substitute(item) for key, item in value.items()}
    return value


def _look_up(match: re.Match[str]) -> str:
    if match[1]:
        return "$"
    name = match[2] or match[3]
    if name not in os.environ:
        raise _UnsetError(name)
    return os.environ[name]
