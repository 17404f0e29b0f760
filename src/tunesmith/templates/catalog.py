# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Chat templates by name: `catalog.yaml` gives the file of each one's text, the variables set before it, its facts."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any

import yaml

_FastLoader: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_TOKEN = re.compile(r"\{(bos_token|eos_token)\}")
# Texts that are single tokens in every vocabulary they are written for.
CONTROL_TEXT = re.compile(r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>\s]{1,40}｜>|<(?:start|end)_of_turn>|\[gMASK\]|<sop>")


@dataclass(frozen=True, kw_only=True)
class CatalogEntry:
    """A named template.

    `stops` are further tokens that end an answer when generating; with `ends_by_eos` eos is put behind the last answer,
    as the layout writes no token there; `tool_format` names how tools are written (tools/) where the template's text
    knows none itself; `plain_markers` look like control tokens but are ordinary text in its models; `has_own_system`
    says that the default system message is the one of the model's own template; `note` and `differs` say where makers
    or LLaMA-Factory write otherwise, `differs` what a user must know.
    """

    name: str
    source: str
    file: str
    is_variant: bool = False
    stops: tuple[str, ...] = ()
    ends_by_eos: bool = False
    tool_format: str | None = None
    tokens: tuple[str, ...] = ()
    plain_markers: tuple[str, ...] = ()
    default_system: str | None = None
    has_own_system: bool = False
    think: tuple[str, str] | None = None
    media: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    differs: str = ""

    def with_default_system(self, text: str) -> "CatalogEntry":
        """Give this template with another default system message."""
        old, new = _assignment("default_system", self.default_system), _assignment("default_system", text)
        return replace(self, source=self.source.replace(old, new), default_system=text)

    def control_tokens(self) -> list[str]:
        """List the texts of this template that must be single tokens of a vocabulary."""
        written = [
            token for token in CONTROL_TEXT.findall(_COMMENT.sub("", self.source)) if token not in self.plain_markers
        ]
        return list(dict.fromkeys([*self.tokens, *written]))


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """The named templates, their further names, and the tokens that matter to templates of any name."""

    entries: Mapping[str, CatalogEntry]
    aliases: Mapping[str, str]
    kept_in_answers: tuple[str, ...]
    stops_between_turns: tuple[str, ...]
    ended_by_eos: Mapping[str, Sequence[str]]

    def find(self, name: str) -> CatalogEntry | None:
        """Give the template of a name or alias."""
        return self.entries.get(self.aliases.get(name, name))

    def names(self) -> list[str]:
        """List all names and aliases."""
        return [*self.entries, *self.aliases]

    def ends_by_eos(self, source: str) -> bool:
        """Recognise by its text a template of a family whose answers end with the tokenizer's eos alone."""
        return any(all(text in source for text in texts) for texts in self.ended_by_eos.values())

    def fitting(self, vocabulary: set[str]) -> list[str]:
        """List the templates whose control tokens a vocabulary has: those that write most of its tokens first."""
        fits = [entry for entry in self.entries.values() if vocabulary.issuperset(entry.control_tokens())]
        written = {entry.name: sum(token in entry.source for token in vocabulary if token.strip()) for entry in fits}
        return [entry.name for entry in sorted(fits, key=lambda e: (-written[e.name], e.is_variant, e.name))]


@cache
def load_catalog() -> Catalog:
    """Read the catalog that comes with the package."""
    table = _FastLoader(_read("catalog.yaml")).get_single_data()
    return Catalog(
        entries={name: _build_entry(name, table) for name in table["templates"]},
        aliases=table["aliases"],
        kept_in_answers=tuple(table["kept_in_answers"]),
        stops_between_turns=tuple(table["stops_between_turns"]),
        ended_by_eos=table["ended_by_eos"],
    )


def _build_entry(name: str, table: Mapping[str, Any]) -> CatalogEntry:
    given = _inherited(name, table["templates"])
    file = given["file"]
    defaults = table["files"][file]
    variables = {key: given.get(key, value) for key, value in defaults["variables"].items()}
    texts = [_assignment(key, value) for key, value in variables.items()]
    texts += [_read(f"jinja/{part}").rstrip("\n") for part in (defaults.get("uses"), file) if part]
    think = variables.get("think")
    return CatalogEntry(
        name=name,
        source="\n".join(texts),
        file=file,
        is_variant="like" in table["templates"][name],
        stops=tuple(given.get("stops", ())),
        ends_by_eos=given.get("ends_by_eos", False),
        tool_format=given.get("tool_format", defaults.get("tool_format")),
        tokens=tuple(given.get("tokens", ())),
        plain_markers=tuple(given.get("plain_markers", ())),
        default_system=variables.get("default_system"),
        has_own_system=given.get("system_from_own", False),
        think=(think[0], think[1]) if think else None,
        media=given.get("media", {}),
        note=given.get("note", ""),
        differs=given.get("differs", ""),
    )


def _inherited(name: str, entries: Mapping[str, Any]) -> dict[str, Any]:
    """Give an entry's keys over those of the entry that it is like."""
    given = dict(entries[name])
    parent = given.pop("like", None)
    return {**_inherited(parent, entries), **given} if parent is not None else given


def _read(path: str) -> str:
    return resources.files("tunesmith.templates").joinpath(path).read_text(encoding="utf-8")


def _assignment(name: str, value: Any) -> str:
    """Write a variable as Jinja; text around {content} becomes the pair of what stands before and after it."""
    if isinstance(value, str) and "{content}" in value:
        value = list(value.split("{content}"))
    return f"{{%- set {name} = {_expression(value)} %}}"


def _expression(value: Any) -> str:
    if isinstance(value, str):
        parts = [(part, number % 2) for number, part in enumerate(_TOKEN.split(value)) if part or not value]
        return " ~ ".join(part if is_token else json.dumps(part, ensure_ascii=False) for part, is_token in parts)
    if isinstance(value, Sequence):
        return "[" + ", ".join(_expression(item) for item in value) + "]"
    return {None: "none", True: "true", False: "false"}[value]
