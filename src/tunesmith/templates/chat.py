# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Chooses the chat template of a run: the user's choice, else a folder's frozen one, else the tokenizer's own."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from tunesmith.core.errors import refusal, warning
from tunesmith.core.report import emit_warning
from tunesmith.templates.base import ChatTemplate, Origin, SpecialText
from tunesmith.templates.catalog import CONTROL_TEXT, CatalogEntry, load_catalog
from tunesmith.templates.jinja_template import FACTS_FILE, FIXED_DATE, TEMPLATE_FILE, JinjaTemplate, TemplateFacts
from tunesmith.templates.own_system import default_system_of
from tunesmith.templates.sources import is_template_file, read_source, read_template_file, unknown_name


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a user sets about a template; None takes what a saved one was trained with, else the default.

    `variables` are handed to the template, e.g. {"enable_thinking": False}.
    """

    variables: Mapping[str, Any] = field(default_factory=dict)
    special_text: SpecialText | None = None
    tool_format: str | None = None
    date: datetime | None = None


def load_template(
    tokenizer: PreTrainedTokenizerBase,
    *,
    name: str | None = None,
    folder: Path | None = None,
    variables: Mapping[str, Any] | None = None,
    settings: Settings | None = None,
) -> ChatTemplate:
    """Load the template called `name` (catalog name or .jinja path), else of `folder`, else of the tokenizer.

    `variables` are a short form of settings that hold nothing else.
    """
    given = settings or Settings(variables=dict(variables or {}))
    if name is not None:
        return _load_named(tokenizer, name, given)
    if folder is not None and (folder / TEMPLATE_FILE).is_file():
        return _load_frozen(tokenizer, folder, given)
    own = own_source(tokenizer)
    if own is None:
        raise refusal(
            "template.source_missing",
            "The tokenizer has no chat template, and `template` names none.",
            f"Set `template:` to {_candidates(tokenizer)}, or to the path of a .jinja file.",
            key="template",
        )
    return _build(own, tokenizer, "own", "tokenizer", given)


def own_source(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Give the text of the tokenizer's own template (its default one, where it has several)."""
    template = tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default") or next(iter(template.values()), None)
    return template or None


def control_tokens_missing(template: ChatTemplate, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """List control tokens that the template writes and this vocabulary does not hold as single tokens.

    A tokenizer's own template is taken at its word: only marks that look like control tokens in a template from
    elsewhere are judged, except those that the catalog knows as plain text.
    """
    if template.origin == "tokenizer":
        return []
    entry = load_catalog().find(template.name)
    plain = set(entry.plain_markers) if entry is not None else set()
    needed = entry.tokens if entry is not None else ()
    known = {token.content for token in tokenizer.added_tokens_decoder.values()}
    if needed:
        known |= tokenizer.get_vocab().keys()
    written = dict.fromkeys([*needed, *CONTROL_TEXT.findall(template.sample())])
    own = own_source(tokenizer) or ""
    return [token for token in written if token not in known | plain and token not in own]


def _load_named(tokenizer: PreTrainedTokenizerBase, name: str, settings: Settings) -> ChatTemplate:
    if is_template_file(name):
        return _build(read_source(name), tokenizer, Path(name).stem, "file", settings)
    entry = load_catalog().find(name)
    if entry is None:
        raise unknown_name(name, _candidates(tokenizer))
    return _build(_fitted(entry, tokenizer).source, tokenizer, name, "catalog", settings)


def _fitted(entry: CatalogEntry, tokenizer: PreTrainedTokenizerBase) -> CatalogEntry:
    """Fill in the default system message of the model's own template where the entry has that; say what is unusual."""
    if entry.differs:
        remedy = "Nothing need be done if this is wanted; else choose another template, or leave `template` out."
        emit_warning(
            warning("template.layout_differs", f"Template {entry.name!r}: {entry.differs}.", remedy, key="template")
        )
    if not entry.has_own_system:
        return entry
    own = own_source(tokenizer)
    system = default_system_of(own, FIXED_DATE) if own is not None else None
    if system is not None:
        return entry.with_default_system(system)
    emit_warning(
        warning(
            "template.layout_differs",
            f"Template {entry.name!r} begins with a default system message that is taken from the model's own chat "
            "template, and this tokenizer has none that writes one: conversations without a system message get none.",
            "Set `default_system` to the text that the model was trained with.",
            key="template",
        )
    )
    return entry


def _load_frozen(tokenizer: PreTrainedTokenizerBase, folder: Path, settings: Settings) -> ChatTemplate:
    """Load the template that was saved with an adapter or model, with the date and variables it was trained with."""
    source = read_template_file(folder / TEMPLATE_FILE)
    facts: dict[str, Any] = {}
    if (folder / FACTS_FILE).is_file():
        facts = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
    own = own_source(tokenizer)
    origin: Origin = "tokenizer" if own is not None and own.rstrip() == source.rstrip() else "frozen"
    return _build(source, tokenizer, facts.get("name", "own"), origin, settings, frozen=facts)


def _build(
    source: str,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
    origin: Origin,
    settings: Settings,
    *,
    frozen: Mapping[str, Any] | None = None,
) -> ChatTemplate:
    """Build a template; what was saved with one stands before the catalog's facts and behind the user's settings."""
    saved = frozen or {}
    known = _known_facts(source, name, origin, tokenizer)
    kept: dict[str, Any] = {
        key: tuple(saved[key]) for key in ("implicit_stops", "stops", "kept_in_answers") if key in saved
    }
    if "final_stop" in saved:
        kept["final_stop"] = saved["final_stop"]
    known_format = known.pop("tool_format")
    tool_format = settings.tool_format or saved.get("tool_format", known_format)
    facts = TemplateFacts(
        name=name,
        origin=origin,
        date=settings.date or (datetime.fromisoformat(saved["date"]) if "date" in saved else FIXED_DATE),
        variables={**saved.get("variables", {}), **settings.variables},
        split_answers=saved.get("split_answers", origin == "catalog"),
        special_text=settings.special_text or saved.get("special_text", "escape"),
        tool_format=tool_format,
        is_tool_format_forced=settings.tool_format is not None or saved.get("is_tool_format_forced", False),
        **{**known, **kept},
    )
    return JinjaTemplate(source, tokenizer, facts)


def _known_facts(source: str, name: str, origin: Origin, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Give what the catalog knows of a template, by its name or by its text."""
    catalog = load_catalog()
    entry = catalog.find(name) if origin in ("catalog", "frozen") else None
    ends_by_eos = catalog.ends_by_eos(source) or (entry is not None and entry.ends_by_eos)
    eos = tokenizer.eos_token
    return {
        "kept_in_answers": catalog.kept_in_answers,
        "stops": entry.stops if entry is not None else (),
        "implicit_stops": catalog.stops_between_turns,
        "final_stop": eos if ends_by_eos and isinstance(eos, str) else None,
        "tool_format": entry.tool_format if entry is not None else None,
    }


def _candidates(tokenizer: PreTrainedTokenizerBase) -> str:
    """Name the catalog's templates whose control tokens this vocabulary has, the most specific first."""
    known = {token.content for token in tokenizer.added_tokens_decoder.values()}
    return "one of " + ", ".join(load_catalog().fitting(known)[:6])
