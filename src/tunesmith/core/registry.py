# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Registries of named parts: a decorator stores name → object, the first look-up imports every module of a package.

A new file in the package is found without editing a list; outside code registers through the entry-point group
`tunesmith.<kind>` or by being imported (`plugins:`).
"""

import importlib
import pkgutil
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from tunesmith.core.errors import refusal
from tunesmith.core.names import nearest

Part = TypeVar("Part")
Decorated = TypeVar("Decorated")


class Registry(Generic[Part]):
    """Parts of one kind (objective, tuner, format, …), found by name."""

    def __init__(self, kind: str, package: str, *, code: str) -> None:
        """`code` is the error code raised for a name that is not registered."""
        self.kind = kind
        self._package = package
        self._code = code
        self._parts: dict[str, Part] = {}
        self._is_complete = False

    def register(self, name: str) -> Callable[[Decorated], Decorated]:
        """Store the decorated object under `name`; a second object of the same name is our bug."""

        def store(part: Decorated) -> Decorated:
            known = self._parts.get(name)
            assert known is None or known is part, f"two {self.kind} parts are named {name!r}"
            self._parts[name] = part  # type: ignore[assignment]
            return part

        return store

    def get(self, name: str) -> Part:
        """Look a part up, or refuse with the nearest names."""
        self._complete()
        if name not in self._parts:
            raise refusal(
                self._code,
                f"There is no {self.kind} named {name!r}.",
                f"Choose one of: {', '.join(self.names())}." + nearest(name, self._parts),
            )
        return self._parts[name]

    def names(self) -> list[str]:
        """All registered names, sorted."""
        self._complete()
        return sorted(self._parts)

    def items(self) -> list[tuple[str, Part]]:
        """All parts, sorted by name."""
        self._complete()
        return sorted(self._parts.items())

    def _complete(self) -> None:
        if self._is_complete:
            return
        self._is_complete = True
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        for entry_point in entry_points(group=f"tunesmith.{self.kind}"):
            entry_point.load()
