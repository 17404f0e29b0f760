# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Every registered format reads its sample row, and answers any row at all with an example or a coded row error."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.core.errors import error_table
from tunesmith.core.types import Example, RowRef
from tunesmith.data.formats.base import Row, RowError, formats
from tunesmith.data.recognition import columns_of
from tunesmith.data.sets import DataSet

_SOURCE = RowRef(dataset="d", file="f.jsonl", row=3)

# One row of every format; a new format adds its own.
SAMPLES: Mapping[str, Mapping[str, Any]] = {
    "alpaca": {"instruction": "Add.", "input": "2+2", "output": "4", "history": [["a", "b"]], "system": "s"},
    "classification": {"text": "a", "label": "b"},
    "classification_zh": {"text": "a", "label": "b"},
    "contrast": {"anchor": "a", "positive": ["b"], "negative": ["c"]},
    "exam": {"question": "a", "A": "b", "B": "c", "answer": "A"},
    "labelled": {"text": "a", "label": "b"},
    "ner": {"text": "Ann", "entities": [{"entity_text": "Ann", "entity_label": "PER", "entity_names": ["person"]}]},
    "ner_zh": {"text": "南京", "entities": [{"entity_text": "南京", "entity_label": "x", "entity_names": ["地点"]}]},
    "openai": {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
    "pair": {
        "chosen_messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
        "rejected_messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "c"}],
    },
    "sharegpt": {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "tools": "[]"},
    "solutions": {"question": "a", "solution": "b", "is_correct": True},
    "swift": {"query": "a", "response": "b", "rejected_response": "c", "channel": "d", "objects": {"ref": ["e"]}},
    "text": {"text": "a"},
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def read(name: str, values: Mapping[str, Any]) -> Example:
    data_set = DataSet(name="d", files=(), formatting=name)
    return formats.get(name)(Row(source=_SOURCE, values=values), columns_of(data_set, name))


def test_every_format_has_a_sample() -> None:
    assert sorted(SAMPLES) == formats.names()


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_the_sample_is_read(name: str) -> None:
    example = read(name, SAMPLES[name])
    assert example.source == _SOURCE
    assert example.conversation is not None or example.text
    assert (example.kind == "preference") == bool(example.chosen and example.rejected)


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_row_without_columns_is_refused(name: str) -> None:
    with pytest.raises(RowError) as caught:
        read(name, {"unrelated": 1})
    assert caught.value.code == "data.column_missing"
    assert "'unrelated'" in caught.value.message and "dataset_info.json" in caught.value.remedy


def places(value: Any) -> list[tuple[Any, Any]]:
    """All (container, key) pairs of a JSON value."""
    items = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [pair for key, inner in items for pair in [(value, key), *places(inner)]]


@pytest.mark.parametrize("name", sorted(SAMPLES))
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_value_anywhere_is_read_or_refused(name: str, data: st.DataObject) -> None:
    values = copy.deepcopy(dict(SAMPLES[name]))
    container, key = data.draw(st.sampled_from(places(values)))
    container[key] = data.draw(json_values)
    try:
        assert isinstance(read(name, values), Example)
    except RowError as error:
        assert error.code in error_table()
        assert error.message.endswith((".", "!")) and error.remedy
