# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Warnings collected while a command runs; the CLI shows them and puts them into the JSON result."""

from collections.abc import Callable

from tunesmith.core.errors import Problem

_collected: list[Problem] = []
_listeners: list[Callable[[Problem], None]] = []


def emit_warning(problem: Problem) -> None:
    """Keep a warning for the report of the running command; the same warning is kept once."""
    if problem not in _collected:
        _collected.append(problem)
        for tell in _listeners:
            tell(problem)


def tell_warnings_to(tell: Callable[[Problem], None]) -> None:
    """Call `tell` with each new warning as it comes, so that it is read before the work it warns of."""
    _listeners.append(tell)


def collected_warnings() -> tuple[Problem, ...]:
    """All warnings of the running command, in the order they came."""
    return tuple(_collected)


def clear_warnings() -> None:
    """Forget all warnings; called once at the start of a command."""
    _collected.clear()
