# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The generated index and editor schema: complete, documented, and readable back."""

import json

from tunesmith.config.index import INDEX_FILE, KeyEntry, load_index
from tunesmith.config.values import read_value


def test_every_key_is_explained_in_one_line() -> None:
    for name, entry in load_index().keys.items():
        assert entry.help.endswith("."), name
        assert len(entry.help) <= 120, name


def test_every_default_is_a_value_of_its_key() -> None:
    for name, entry in load_index().keys.items():
        if entry.default is not None:
            assert read_value(entry, entry.default) == entry.default, name
        else:
            assert entry.is_nullable, name


def test_entries_survive_being_written() -> None:
    for name, entry in load_index().keys.items():
        assert KeyEntry.from_json(name, json.loads(json.dumps(entry.to_json()))) == entry


def test_selecting_keys_have_the_choices_that_sections_name() -> None:
    index = load_index()
    for name, entry in index.keys.items():
        for selector, choices in entry.selected_by.items():
            is_name = bool(index.keys[selector].choices)  # otherwise a switch, or a number that is set at all
            assert set(choices) <= (set(index.keys[selector].choices) if is_name else {"true", "*"}), name
    for selector, waiting in index.pending_values.items():
        assert not set(waiting) & set(index.keys[selector].choices), selector


def test_editors_know_every_name() -> None:
    schema = json.loads(INDEX_FILE.with_name("schema.json").read_text(encoding="utf-8"))
    index = load_index()
    assert set(schema["properties"]) == {*index.keys, *index.pending, *index.renamed, *index.gone}
    assert schema["additionalProperties"] is False
    assert {"type": "integer", "minimum": 1} in schema["properties"]["cutoff_len"]["anyOf"]
    assert {"enum": ["auto", "disabled", "sdpa", "fa2", "fa3"]} in schema["properties"]["flash_attn"]["anyOf"]
