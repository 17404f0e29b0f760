# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Texts of chat templates: a file's, a catalog entry's. Knows no tokenizer."""

import difflib
from pathlib import Path

from tunesmith.core.errors import TunesmithError, refusal
from tunesmith.core.names import nearest
from tunesmith.templates.catalog import load_catalog

_SUFFIXES = (".jinja", ".jinja2", ".j2")


def is_template_file(name: str) -> bool:
    """Say whether a template's name is a path."""
    return name.endswith(_SUFFIXES)


def read_source(name: str) -> str:
    """Give the text of a catalog name or of a .jinja file; an unknown name is refused."""
    if is_template_file(name):
        return read_template_file(Path(name))
    entry = load_catalog().find(name)
    if entry is None:
        close = difflib.get_close_matches(name, load_catalog().names(), n=5, cutoff=0.5)
        raise unknown_name(name, f"one of {', '.join(close or load_catalog().names()[:5])}")
    return entry.source


def read_template_file(path: Path) -> str:
    """Read a template's text."""
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


def unknown_name(name: str, candidates: str) -> TunesmithError:
    """Refuse a template's name; `candidates` is what to write instead."""
    return refusal(
        "template.name_unknown",
        f"The chat template {name!r} is unknown." + nearest(name, load_catalog().names()),
        f"Set `template:` to {candidates}, to the path of a .jinja file, or leave it out to use the model's own.",
        key="template",
    )
