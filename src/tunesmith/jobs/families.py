# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Families of models with their templates, tool formats, default targets, and what was verified; found by name.

Joins three tables that come with the package: families.yaml, verified.json and the catalog of templates. Imports
neither torch nor transformers, and opens no model but the config.json of a folder that is named.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from tunesmith.core.errors import refusal
from tunesmith.core.names import nearest
from tunesmith.models.attention.families import FOREST_TYPES, PADDED_TYPES
from tunesmith.models.folder import read_model_config
from tunesmith.templates.catalog import load_catalog

_FastLoader: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
IN_TEXT = "in its text"
# What it costs that past tokens cannot be kept for padded batches.
SLOW = {"alone": "answers one by one", "whole": "answers slowly, each token from the whole text"}


@dataclass(frozen=True, kw_only=True)
class TypeFacts:
    """A model type: how its rows are laid out, what LoRA adapts by default, and what the contract found.

    `state` is verified, partly, untried, own_code or media; `failed` says by part what does not work; `past` is alone
    where answers are computed one by one, whole where besides every new token is computed from the whole text.
    """

    type: str
    state: str
    rows: str = ""
    why_padded: str = ""
    targets: tuple[str, ...] = ()
    experts: tuple[str, ...] = ()
    past: str = ""
    reason: str = ""
    failed: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class TemplateFacts:
    """A named template with the way it writes tools."""

    name: str
    tools: str


@dataclass(frozen=True, kw_only=True)
class Family:
    """A family of models by the name that people know."""

    name: str
    types: tuple[TypeFacts, ...]
    templates: tuple[TemplateFacts, ...]
    note: str = ""


def read_families() -> tuple[dict[str, str], list[Family]]:
    """Read the tables: with which libraries the types were tried, and the families."""
    table = _FastLoader(_read("families.yaml")).get_single_data()
    verified = json.loads(_read("verified.json"))
    declared = {name: reason for reason, names in table["declared"].items() for name in names}
    return verified["libraries"], [_family(entry, verified["types"], declared) for entry in table["families"]]


def _read(name: str) -> str:
    return resources.files("tunesmith.models").joinpath(name).read_text(encoding="utf-8")


def _family(entry: Mapping[str, Any], verified: Mapping[str, Any], declared: Mapping[str, str]) -> Family:
    catalog = load_catalog()
    templates = [catalog.entries[name] for name in entry.get("templates", ())]
    return Family(
        name=entry["name"],
        types=(
            *(_type(name, verified.get(name), declared.get(name, "")) for name in entry.get("types", ())),
            *(TypeFacts(type=name, state="own_code") for name in entry.get("own_code", ())),
            *(TypeFacts(type=name, state="media") for name in entry.get("media", ())),
        ),
        templates=tuple(TemplateFacts(name=found.name, tools=found.tool_format or IN_TEXT) for found in templates),
        note=entry.get("note", ""),
    )


def _type(name: str, facts: Mapping[str, Any] | None, reason: str) -> TypeFacts:
    if facts is None:
        return TypeFacts(type=name, state="untried", reason=reason)
    is_packed = name in FOREST_TYPES
    return TypeFacts(
        type=name,
        state="partly" if facts["failed"] else "verified",
        rows="packed" if is_packed else "padded",
        why_padded="" if is_packed else PADDED_TYPES.get(name, "have not been tried with packed rows"),
        targets=tuple(facts["targets"]),
        experts=tuple(facts["experts"]),
        past=facts["past"],
        reason=reason,
        failed=facts["failed"] or None,
    )


def find(name: str, families: Sequence[Family]) -> list[Family]:
    """Give the families that a name fits, each with the types and templates it fits where it is no family's name."""
    folder, wanted = Path(name).expanduser(), name
    if (folder / "config.json").is_file():
        wanted = str(read_model_config(folder)["model_type"])
        found = _narrowed(families, lambda word: word == wanted)
    else:
        found = _named(_plain(name), families)
    if not found:
        names = sorted({word for family in families for word in (family.name, *_words(family))})
        raise refusal(
            "models.family_unknown",
            f"No family, model type or template fits {wanted!r}.",
            "`tunesmith models` lists all of them." + nearest(wanted, names),
        )
    return found


def _named(wanted: str, families: Sequence[Family]) -> list[Family]:
    """Look for families of the name, then for types and templates that contain it, then for ones that it contains."""
    whole = [family for family in families if wanted in map(_plain, re.split("[,/]", family.name))]
    if whole or not wanted:
        return whole
    parts = _narrowed(families, lambda word: wanted in _plain(word))
    if parts:
        return parts
    # A model's name, such as Qwen3-8B: the longest type or template within it.
    words = {_plain(word) for family in families for word in _words(family)}
    within = {word for word in words if len(word) > 1 and word in wanted}
    longest = max(map(len, within), default=0)
    return _narrowed(families, lambda word: _plain(word) in within and len(_plain(word)) == longest)


def _words(family: Family) -> list[str]:
    return [*(part.type for part in family.types), *(part.name for part in family.templates)]


def _narrowed(families: Sequence[Family], fits: Callable[[str], bool]) -> list[Family]:
    """Give the families of which a type or template fits, with what fits, or all types where only a template does."""
    found = []
    for family in families:
        types = tuple(part for part in family.types if fits(part.type))
        templates = tuple(part for part in family.templates if fits(part.name))
        if types or templates:
            found.append(replace(family, types=types or family.types, templates=templates or family.templates))
    return found


def _plain(word: str) -> str:
    """Leave out what people write now so, now otherwise: case, dots, dashes."""
    return re.sub(r"[^a-z0-9]", "", word.lower())
