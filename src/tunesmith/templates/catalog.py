# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Chat templates by name: `catalog.yaml` gives each one's text, as a `.jinja` file or as pieces of turns."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

_PIECE = re.compile(r"\{(content|system|bos_token|eos_token)\}")
_NAMES = {"content": "message.content"}


@dataclass(frozen=True, kw_only=True)
class CatalogEntry:
    """A named template; `plain_markers` look like control tokens but are ordinary text in its models.

    `tool_format` names how tools are written (tools/) where the template's text knows none itself.
    """

    name: str
    source: str
    plain_markers: tuple[str, ...] = ()
    tool_format: str | None = None


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """The named templates, the names still without one, and the tokens that matter to templates of any name."""

    entries: Mapping[str, CatalogEntry]
    pending: frozenset[str]
    kept_in_answers: tuple[str, ...]
    stops_between_turns: tuple[str, ...]


@cache
def load_catalog() -> Catalog:
    """Read the catalog that comes with the package."""
    folder = resources.files("tunesmith.templates")
    table = yaml.safe_load(folder.joinpath("catalog.yaml").read_text(encoding="utf-8"))
    entries = {name: _build_entry(name, given or {}) for name, given in table["templates"].items()}
    return Catalog(
        entries=entries,
        pending=frozenset(table["pending"]),
        kept_in_answers=tuple(table["kept_in_answers"]),
        stops_between_turns=tuple(table["stops_between_turns"]),
    )


def _build_entry(name: str, given: Mapping[str, Any]) -> CatalogEntry:
    if "file" in given:
        folder = resources.files("tunesmith.templates").joinpath("jinja")
        text = folder.joinpath(given["file"]).read_text(encoding="utf-8").rstrip("\n")
        system = given.get("default_system")
        source = f"{{%- set default_system = {_quoted(system)} %}}\n{text}" if system else text
    else:
        source = _from_pieces(name, given)
    return CatalogEntry(
        name=name,
        source=source,
        plain_markers=tuple(given.get("plain_markers", ())),
        tool_format=given.get("tool_format"),
    )


def _from_pieces(name: str, pieces: Mapping[str, Any]) -> str:
    """Write the Jinja text of a template given by what stands around the content of each role."""
    lines = [
        "{%- if tools %}{{- raise_exception('The template " + name + " knows no tools.') }}{%- endif %}",
        f"{{{{- {_expression(pieces.get('prefix', ''))} }}}}",
        *_system_lines(pieces),
        "{%- for message in loop_messages %}",
        "    {%- if message.role == 'user' %}",
        f"        {{{{- {_user_expression(pieces)} }}}}",
        "    {%- elif message.role == 'assistant' %}",
        "        {%- if message.tool_calls %}{{- raise_exception('The template "
        + name
        + " knows no tool calls.') }}{%- endif %}",
        f"        {{{{- {_expression(pieces['prompt'] + pieces['assistant'])} }}}}",
    ]
    if "tool" in pieces:
        lines += ["    {%- elif message.role == 'tool' %}", f"        {{{{- {_expression(pieces['tool'])} }}}}"]
    lines += [
        "    {%- else %}",
        "        {{- raise_exception('The template " + name + " knows no role ' ~ message.role ~ ' here.') }}",
        "    {%- endif %}",
        "{%- endfor %}",
        "{%- if add_generation_prompt %}",
        f"    {{{{- {_expression(pieces['prompt'])} }}}}",
        "{%- endif %}",
    ]
    return "\n".join(lines)


def _system_lines(pieces: Mapping[str, Any]) -> list[str]:
    """Take the system message off the front; write it, or keep it for the first user turn."""
    default = _quoted(pieces["default_system"]) if "default_system" in pieces else "none"
    lines = [
        "{%- if messages[0].role == 'system' %}",
        "    {%- set system = messages[0].content %}",
        "    {%- set loop_messages = messages[1:] %}",
        "{%- else %}",
        f"    {{%- set system = {default} %}}",
        "    {%- set loop_messages = messages %}",
        "{%- endif %}",
    ]
    system = pieces.get("system", "{content}").replace("{content}", "{system}")
    if pieces.get("system_in_user", False):
        lines.append(f"{{%- set opening = ({_expression(system)}) if system is not none else '' %}}")
    else:
        lines.append(f"{{%- if system is not none %}}{{{{- {_expression(system)} }}}}{{%- endif %}}")
    return lines


def _user_expression(pieces: Mapping[str, Any]) -> str:
    expression = _expression(pieces["user"])
    if pieces.get("system_in_user", False):
        return expression.replace("message.content", "(opening if loop.first else '') ~ message.content")
    return expression


def _expression(piece: str) -> str:
    """Turn a piece such as `<s>{content}{eos_token}` into a Jinja expression."""
    parts = [part for part in enumerate(_PIECE.split(piece)) if part[0] % 2 or part[1]]
    terms = [_NAMES.get(part, part) if number % 2 else _quoted(part) for number, part in parts]
    return " ~ ".join(terms) or "''"


def _quoted(text: str) -> str:
    """Quote a text for Jinja, whose string literals know JSON's escapes."""
    return json.dumps(text, ensure_ascii=False)
