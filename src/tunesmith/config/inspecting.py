# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What an inspection of rows takes from a configuration: settings of training that are not built yet do not stop it.

Rows of a stage can be looked at before its loss exists; keys that shape rows are refused as everywhere.
"""

from collections.abc import Iterable
from dataclasses import replace

from tunesmith.config.index import Index
from tunesmith.config.keys import word_of
from tunesmith.config.source import Entry

# What pending keys wait for that would change the rows themselves.
_SHAPES_ROWS = frozenset(
    {
        "data from a hub",
        "mixing by turns",
        "other tool formats",
        "prepared data on disk",
        "reasoning templates",
        "special tokens of texts as plain text",
        "streamed data",
    }
)


def for_inspection(index: Index, entries: Iterable[Entry]) -> tuple[Index, list[Entry]]:
    """Open the stages whose losses wait, and leave out the entries that wait for anything but rows."""
    stage, waiting = index.keys["stage"], dict(index.pending_values)
    stages = (*stage.choices, *(name for name in waiting.pop("stage", {}) if name not in stage.choices))
    opened = replace(index, keys={**index.keys, "stage": replace(stage, choices=stages)}, pending_values=waiting)
    return opened, [entry for entry in entries if not _waits_for_training(entry, opened)]


def _waits_for_training(entry: Entry, index: Index) -> bool:
    if entry.key in index.pending:
        return index.pending[entry.key].waits_for not in _SHAPES_ROWS
    waits_for = index.pending_values.get(entry.key, {}).get(word_of(entry))
    return waits_for is not None and waits_for not in _SHAPES_ROWS
