# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Which format a data set is in: named outright, or recognised from the columns of its first rows.

Giving some columns or tags keeps the defaults of the others; recognition only chooses among names that were not given.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.core.errors import Problem, Where
from tunesmith.core.types import RowKind
from tunesmith.data.formats.base import DEFAULT_COLUMNS, DEFAULT_TAGS, Columns, formats
from tunesmith.data.layouts import recognise
from tunesmith.data.sets import DataSet
from tunesmith.data.sight import NAMES, Layout, Sight

SAMPLE_ROWS = 50

# What a format means by a name that is not given, where it differs from DEFAULT_COLUMNS and DEFAULT_TAGS.
_FORMAT_COLUMNS: Mapping[str, Mapping[str, str | None]] = {
    "openai": {"messages": "messages"},
    "swift": {"messages": "messages", "prompt": "query", "query": None, "response": "response"},
    "exam": {"prompt": "question", "response": "answer"},
    "solutions": {"prompt": "question", "response": "solution", "kto_tag": "is_correct"},
    "labelled": {"label": "label"},
    "classification": {"label": "label"},
    "classification_zh": {"label": "label"},
}
_FORMAT_TAGS: Mapping[str, Mapping[str, str]] = {
    "openai": {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "observation_tag": "tool",
    }
}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the rows of a data set are read; `decision` says it in words when it was recognised, not named."""

    format: str
    columns: Columns
    decision: str | None = None


def choose_reading(
    data_set: DataSet, sample: Sequence[Mapping[str, Any]], *, kind: RowKind | None = None
) -> Reading | Problem:
    """Take the named format, or recognise it from some rows; `kind` decides where columns allow two readings."""
    sight = Sight(sample=sample, given=data_set.columns, tags=data_set.tags, ranking=data_set.ranking, kind=kind)
    if data_set.formatting is not None:
        return _named(data_set, data_set.formatting, sight)
    layout = recognise(sight)
    if layout is None:
        return _unrecognised(data_set, sight)
    decision = f"read as {layout.format}: it has {layout.reason}"
    return Reading(format=layout.format, columns=_columns(data_set, layout), decision=decision)


def _named(data_set: DataSet, name: str, sight: Sight) -> Reading:
    """Take the format as named; only the stage's label or answer column is looked for, where it is not described."""
    looked_for = {key: found for key, found in sight.named(*sight.stage_keys).items() if key not in data_set.columns}
    ranking = data_set.ranking or (sight.kind == "preference" and {"chosen", "rejected"} <= set(sight.present))
    columns = _columns(data_set, Layout(format=name, reason="", names=looked_for, ranking=ranking))
    found = [f"{key} is column {name!r}" for key, name in looked_for.items()]
    return Reading(format=name, columns=columns, decision=f"read as {name}: {found[0]}" if found else None)


def columns_of(data_set: DataSet, name: str, **recognised: str | None) -> Columns:
    """Put what was given over what was recognised over the defaults of the format."""
    return _columns(data_set, Layout(format=name, reason="", names=recognised))


def _columns(data_set: DataSet, layout: Layout) -> Columns:
    usual = {**DEFAULT_COLUMNS, **_FORMAT_COLUMNS.get(layout.format, {}), **layout.names}
    # A column that the description gives to one key is no longer what another key means by default.
    taken = set(data_set.columns.values())
    names = {**{key: None if name in taken else name for key, name in usual.items()}, **data_set.columns}
    tags = {**DEFAULT_TAGS, **_FORMAT_TAGS.get(layout.format, {}), **layout.tags, **data_set.tags}
    return Columns(names=names, tags=tags, ranking=data_set.ranking or layout.ranking)


def _unrecognised(data_set: DataSet, sight: Sight) -> Problem:
    usual = ", ".join(names[0] for key, names in NAMES.items() if key in ("messages", "prompt", "text"))
    return Problem(
        code="data.format_unrecognised",
        message=f"The format of {data_set.name} cannot be told from its columns "
        f"({', '.join(map(repr, sight.present)) or 'none'}).",
        remedy=f"Name formatting ({', '.join(formats.names())}) and columns in dataset_info.json, or rename the "
        f"columns; usual names are {usual}.",
        where=Where(file=data_set.files[0].as_posix(), dataset=data_set.name),
    )
