# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What the values of a column look like over all rows: their types, members, bounds; it knows no file type.

It grows with the number of member names, not with rows, and stops counting names where objects serve as maps.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["null", "bool", "integer", "number", "text", "list", "object", "other"]

# Objects with more names than this are maps (tool parameters by name), not records with fields.
MAX_MEMBERS = 32

_KINDS: dict[type, Kind] = {
    type(None): "null",
    bool: "bool",
    int: "integer",
    float: "number",
    str: "text",
    list: "list",
    dict: "object",
}


@dataclass(kw_only=True, slots=True)
class Shape:
    """The values seen at one place: a column, the items of its lists, or a member of its objects."""

    count: int = 0
    kinds: set[Kind] = field(default_factory=set)
    lowest: int = 0
    highest: int = 0
    has_empty_text: bool = False
    items: "Shape | None" = None
    members: "dict[str, Shape]" = field(default_factory=dict)
    is_map: bool = False

    def add(self, value: Any) -> None:
        """Take one more value into account."""
        kind = _KINDS.get(type(value), "other")
        self.count += 1
        self.kinds.add(kind)
        if kind == "text":
            self.has_empty_text = self.has_empty_text or not value
        elif kind == "integer":
            self.lowest, self.highest = min(self.lowest, value), max(self.highest, value)
        elif kind == "list":
            self._add_items(value)
        elif kind == "object" and not self.is_map:
            self._add_members(value)

    def _add_items(self, values: list[Any]) -> None:
        items = self.items = self.items or Shape()
        for value in values:
            items.add(value)

    def _add_members(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            self.members.setdefault(name, Shape()).add(value)
        if len(self.members) > MAX_MEMBERS:
            self.is_map = True
            self.members.clear()
