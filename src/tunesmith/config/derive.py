# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Reads index entries off the sections themselves: for generating the index, and for the sections of plugins."""

from collections.abc import Mapping
from typing import Any

from tunesmith.config.index import KeyEntry, Kind
from tunesmith.config.section import Section

# Mark of a field (in its json_schema_extra): users may write auto, and the program chooses the number.
AUTOMATIC = "automatic"
_KINDS: dict[str, Kind] = {
    "boolean": "boolean",
    "integer": "integer",
    "number": "number",
    "string": "string",
    "array": "list",
    "object": "object",
}
_BOUNDS = {"minimum": "ge", "exclusiveMinimum": "gt", "maximum": "le", "exclusiveMaximum": "lt"}
_KIND_ORDER: tuple[Kind, ...] = ("boolean", "integer", "number", "list", "object", "string")


def entries_of(section: type[Section]) -> list[KeyEntry]:
    """Describe every key of a section."""
    schema = section.model_json_schema()
    definitions = schema.get("$defs", {})
    return [_entry(section, name, shape, definitions) for name, shape in schema.get("properties", {}).items()]


def _entry(section: type[Section], name: str, shape: Mapping[str, Any], definitions: Mapping[str, Any]) -> KeyEntry:
    members = [_resolve(member, definitions) for member in shape.get("anyOf", [shape])]
    kinds = {_KINDS[member["type"]] for member in members if member.get("type") != "null"}
    arrays = [_resolve(member.get("items", {}), definitions) for member in members if member.get("type") == "array"]
    leaves = [*members, *arrays]
    if shape.get(AUTOMATIC):
        kinds.add("string")
        leaves.append({"const": "auto"})
    return KeyEntry(
        name=name,
        section=section.section,
        kinds=tuple(kind for kind in _KIND_ORDER if kind in kinds),
        items=_KINDS[arrays[0].get("type", "string")] if arrays else None,
        default=shape.get("default"),
        is_nullable=any(member.get("type") == "null" for member in members),
        choices=tuple(choice for leaf in leaves for choice in _choices(leaf)),
        bounds={short: leaf[long] for leaf in leaves for long, short in _BOUNDS.items() if long in leaf},
        help=shape.get("description", ""),
        selected_by=dict(section.selected_by),
    )


def _resolve(shape: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = shape.get("$ref")
    return definitions[reference.rsplit("/", 1)[-1]] if reference else shape


def _choices(shape: Mapping[str, Any]) -> list[str]:
    if "const" in shape:
        return [shape["const"]]
    return list(shape.get("enum", []))
