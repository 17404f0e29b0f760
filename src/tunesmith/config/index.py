# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The generated index of all keys: names, types, choices, bounds, help, and the tables of pending and old names.

Reads `index.json` only, so that help and config errors need neither pydantic nor torch.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

Kind = Literal["boolean", "integer", "number", "string", "list", "object"]

INDEX_FILE = Path(__file__).with_name("index.json")


@dataclass(frozen=True, kw_only=True)
class KeyEntry:
    """One key of one section. `kinds` are tried in order; choices and bounds also hold for the items of a list."""

    name: str
    section: str
    kinds: tuple[Kind, ...]
    items: Kind | None = None
    default: Any = None
    is_nullable: bool = False
    choices: tuple[str, ...] = ()
    bounds: Mapping[str, float] = field(default_factory=dict)
    help: str = ""
    selected_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    is_inherited: bool = False

    @property
    def takes_null(self) -> bool:
        """Say whether null is a value of its own, as in `enable_thinking: null`, and not the same as unset."""
        return self.is_nullable and self.default is not None

    @classmethod
    def from_json(cls, name: str, data: Mapping[str, Any]) -> "KeyEntry":
        """Read an entry of `index.json`; absent fields keep their defaults."""
        values = dict(data)
        values["kinds"] = tuple(values["kinds"])
        values["choices"] = tuple(values.get("choices", ()))
        values["selected_by"] = {key: tuple(names) for key, names in values.get("selected_by", {}).items()}
        return cls(name=name, **values)

    def to_json(self) -> dict[str, Any]:
        """Give the entry of `index.json`: empty fields are left out."""
        fields = asdict(self)
        del fields["name"]
        return {
            key: value for key, value in fields.items() if key == "default" or value not in (None, (), {}, "", False)
        }


@dataclass(frozen=True, kw_only=True)
class PendingKey:
    """A key of LLaMA-Factory or transformers that is known and not built yet; `neutral` values are accepted."""

    waits_for: str
    neutral: tuple[Any, ...]
    selected_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Index:
    """All keys of this version."""

    keys: Mapping[str, KeyEntry]
    pending: Mapping[str, PendingKey]
    pending_values: Mapping[str, Mapping[str, str]]
    renamed: Mapping[str, Mapping[str, Any]]
    gone: Mapping[str, Mapping[str, Any]]
    foreign: Mapping[str, str]
    values_renamed: Mapping[str, Mapping[str, str | Mapping[str, str]]]
    sections: Mapping[str, str]

    def known_names(self) -> list[str]:
        """Every name a user may write, for suggestions."""
        return [*self.keys, *self.pending, *self.renamed]

    def defaults(self) -> dict[str, Any]:
        """Default of every key."""
        return {name: entry.default for name, entry in self.keys.items()}


@cache
def load_index() -> Index:
    """Read the generated index of this version."""
    return read_index(json.loads(INDEX_FILE.read_text(encoding="utf-8")))


def read_index(data: Mapping[str, Any]) -> Index:
    """Read the content of `index.json`."""
    return Index(
        keys={name: KeyEntry.from_json(name, entry) for name, entry in data["keys"].items()},
        pending={name: read_pending(entry) for name, entry in data["pending"].items()},
        pending_values=data["pending_values"],
        renamed=data["renamed"],
        gone=data["gone"],
        foreign=data["foreign"],
        values_renamed=data["values_renamed"],
        sections=data["sections"],
    )


def read_pending(entry: Mapping[str, Any]) -> PendingKey:
    """Read one entry of the table of pending keys."""
    selected_by = {key: tuple(names) for key, names in entry.get("selected_by", {}).items()}
    return PendingKey(waits_for=entry["waits_for"], neutral=tuple(entry["neutral"]), selected_by=selected_by)
