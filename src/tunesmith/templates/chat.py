# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Chooses the chat template of a run: the user's choice, else a folder's frozen one, else the tokenizer's own."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from tunesmith.core.errors import refusal, warning
from tunesmith.core.names import nearest
from tunesmith.core.report import emit_warning
from tunesmith.templates.base import ChatTemplate, Origin
from tunesmith.templates.catalog import load_catalog
from tunesmith.templates.jinja_template import FACTS_FILE, FIXED_DATE, TEMPLATE_FILE, JinjaTemplate, TemplateFacts

# Texts that are single tokens in every vocabulary they are written for.
_CONTROL = re.compile(r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>\s]{1,40}｜>|<(?:start|end)_of_turn>|\[gMASK\]|<sop>")


def load_template(
    tokenizer: PreTrainedTokenizerBase,
    *,
    name: str | None = None,
    folder: Path | None = None,
    variables: Mapping[str, Any] | None = None,
) -> ChatTemplate:
    """Load the template called `name` (catalog name or .jinja path), else of `folder`, else of the tokenizer.

    `variables` are handed to the template, e.g. {"enable_thinking": False}.
    """
    given = dict(variables or {})
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
    entry = load_catalog().entries.get(template.name)
    plain = set(entry.plain_markers) if entry is not None else set()
    known = {token.content for token in tokenizer.added_tokens_decoder.values()}
    written = dict.fromkeys(_CONTROL.findall(template.sample()))
    own = own_source(tokenizer) or ""
    return [token for token in written if token not in known | plain and token not in own]


def _load_named(tokenizer: PreTrainedTokenizerBase, name: str, variables: dict[str, Any]) -> ChatTemplate:
    catalog = load_catalog()
    if name in catalog.entries:
        return _build(catalog.entries[name].source, tokenizer, name, "catalog", variables)
    if name.endswith((".jinja", ".jinja2", ".j2")):
        return _build(_read(Path(name)), tokenizer, Path(name).stem, "file", variables)
    own = own_source(tokenizer)
    if name in catalog.pending and own is not None:
        emit_warning(
            warning(
                "template.name_own",
                f"The template {name!r} is not in the catalog yet; the model's own template is used.",
                "Remove `template:` to silence this, or give the path of a .jinja file.",
                key="template",
            )
        )
        return _build(own, tokenizer, "own", "tokenizer", variables)
    known = [*catalog.entries, *catalog.pending]
    reason = "is not in the catalog yet" if name in catalog.pending else "is unknown"
    raise refusal(
        "template.name_unknown",
        f"The chat template {name!r} {reason}." + nearest(name, known),
        f"Set `template:` to {_candidates(tokenizer)}, to the path of a .jinja file, or leave it out to use the "
        "model's own.",
        key="template",
    )


def _load_frozen(tokenizer: PreTrainedTokenizerBase, folder: Path, variables: dict[str, Any]) -> ChatTemplate:
    """Load the template that was saved with an adapter or model, with the date and variables it was trained with."""
    source = _read(folder / TEMPLATE_FILE)
    facts: dict[str, Any] = {}
    if (folder / FACTS_FILE).is_file():
        facts = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
    own = own_source(tokenizer)
    origin: Origin = "tokenizer" if own is not None and own.rstrip() == source.rstrip() else "frozen"
    return _build(source, tokenizer, facts.get("name", "own"), origin, variables, frozen=facts)


def _build(
    source: str,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
    origin: Origin,
    variables: dict[str, Any],
    *,
    frozen: Mapping[str, Any] | None = None,
) -> ChatTemplate:
    """Build a template; one that was saved keeps the date, variables and splitting it was trained with."""
    catalog = load_catalog()
    saved = frozen or {}
    facts = TemplateFacts(
        name=name,
        origin=origin,
        date=datetime.fromisoformat(saved["date"]) if "date" in saved else FIXED_DATE,
        variables={**saved.get("variables", {}), **variables},
        kept_in_answers=catalog.kept_in_answers,
        implicit_stops=catalog.stops_between_turns,
        split_answers=saved.get("split_answers", origin == "catalog"),
    )
    return JinjaTemplate(source, tokenizer, facts)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise refusal(
            "template.file_unreadable",
            f"The template file {path} cannot be read: {error}.",
            "Give the path of a UTF-8 text file with a Jinja chat template.",
            key="template",
            file=str(path),
        ) from error


def _candidates(tokenizer: PreTrainedTokenizerBase) -> str:
    """Name the catalog's templates whose control tokens this vocabulary has, the most specific first."""
    known = {token.content for token in tokenizer.added_tokens_decoder.values()}
    fitting: list[tuple[int, str]] = []
    for name, entry in load_catalog().entries.items():
        written = set(_CONTROL.findall(entry.source)) - set(entry.plain_markers)
        if written <= known:
            fitting.append((-len(written), name))
    return "one of " + ", ".join(name for _, name in sorted(fitting)[:6])
