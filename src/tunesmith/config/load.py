# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The way in: a YAML or JSON file or a mapping, with command-line words on top, becomes a RunConfig."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunesmith.config.derive import entries_of
from tunesmith.config.index import Index, load_index
from tunesmith.config.resolve import Command, named_plugins, resolve
from tunesmith.config.run import RunConfig
from tunesmith.config.section import Section
from tunesmith.config.source import Entry
from tunesmith.config.words import read_words
from tunesmith.core.errors import refusal
from tunesmith.core.folder_code import give_consent
from tunesmith.core.optional import import_by_name


def load_config(
    source: Path | Mapping[str, Any], *, command: Command, overrides: Sequence[str | Entry] = ()
) -> RunConfig:
    """Resolve a file or a mapping; `overrides` are words such as `learning_rate=1e-4` or `--lora_rank`, `8`."""
    index = load_index()
    words = [word for word in overrides if isinstance(word, str)]
    entries = (*read_words(words, index), *(word for word in overrides if isinstance(word, Entry)))
    plugins = named_plugins(source, entries)
    if plugins:
        index = with_sections(index, import_plugins(plugins))
    config = RunConfig.of(resolve(source, index, command=command, overrides=entries))
    give_consent(config.model.trust_remote_code)
    return config


def import_plugins(names: Sequence[str]) -> list[type[Section]]:
    """Import the modules of `plugins`, also from the current folder, and give the sections they define."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    for name in names:
        try:
            import_by_name(name)
        except ImportError as error:
            raise refusal(
                "config.plugin_missing",
                f"The plugin {name} cannot be imported: {error}.",
                "Install it, or start tunesmith in the folder that holds it.",
                key="plugins",
            ) from error
    packages = tuple(name.partition(".")[0] for name in names)
    return [section for section in _subclasses(Section) if section.__module__.partition(".")[0] in packages]


def with_sections(index: Index, sections: Iterable[type[Section]]) -> Index:
    """Add the keys of further sections, and the names that select them, to the index."""
    keys = dict(index.keys)
    for section in sections:
        keys.update({entry.name: entry for entry in entries_of(section)})
        for selector, names in section.selected_by.items():
            known = keys[selector].choices
            if not known:  # a switch or a number, not a name among others
                continue
            keys[selector] = replace(keys[selector], choices=(*known, *(n for n in names if n not in known)))
    return replace(index, keys=keys)


def _subclasses(section: type[Section]) -> list[type[Section]]:
    direct = section.__subclasses__()
    return [*direct, *(below for child in direct for below in _subclasses(child))]
