# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Which format a data set is in: named outright, or recognised from the columns of its first rows.

Giving some columns or tags keeps the defaults of the others; recognition only chooses among names that were not given.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.core.errors import Problem, Where
from tunesmith.data.formats.base import DEFAULT_COLUMNS, DEFAULT_TAGS, Columns
from tunesmith.data.sets import DataSet

SAMPLE_ROWS = 50

# What a format means by a name that is not given, where it differs from DEFAULT_COLUMNS and DEFAULT_TAGS.
_FORMAT_COLUMNS: Mapping[str, Mapping[str, str]] = {"openai": {"messages": "messages"}}
_FORMAT_TAGS: Mapping[str, Mapping[str, str]] = {
    "openai": {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "observation_tag": "tool",
    }
}

# Names that are recognised, best first.
_MESSAGES = ("messages", "conversations", "conversation")
_PROMPTS = ("instruction", "prompt", "query", "question", "problem")
_RESPONSES = ("output", "response", "answer", "completion", "solution", "target")
_ROLE_WORDS: Mapping[str, tuple[str, ...]] = {
    "user_tag": ("human", "user"),
    "assistant_tag": ("gpt", "assistant", "bot"),
    "observation_tag": ("observation", "tool", "tool_response", "function_response"),
    "function_tag": ("function_call", "tool_call"),
    "system_tag": ("system",),
}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the rows of a data set are read; `decision` says it in words when it was recognised, not named."""

    format: str
    columns: Columns
    decision: str | None = None


def choose_reading(data_set: DataSet, sample: Sequence[Mapping[str, Any]]) -> Reading | Problem:
    """Take the named format, or recognise it from some rows."""
    if data_set.formatting is not None:
        return Reading(format=data_set.formatting, columns=columns_of(data_set, data_set.formatting))
    present = list(dict.fromkeys(name for row in sample for name in row))
    messages = _first(_MESSAGES, present, data_set.columns.get("messages"))
    if messages is not None:
        return _recognise_chat(data_set, sample, messages)
    prompt = _first(_PROMPTS, present, data_set.columns.get("prompt"))
    if prompt is not None:
        return _recognise_alpaca(data_set, present, prompt)
    text = _first(("text",), present, data_set.columns.get("text"))
    if text is not None:
        return _recognised("text", columns_of(data_set, "text", text=text), f"column {text!r}")
    return Problem(
        code="data.format_unrecognised",
        message=f"The format of {data_set.name} cannot be told from its columns "
        f"({', '.join(map(repr, present)) or 'none'}).",
        remedy="Name it in dataset_info.json: formatting (alpaca, sharegpt, openai or text) and columns.",
        where=Where(file=data_set.files[0].as_posix(), dataset=data_set.name),
    )


def _recognise_chat(data_set: DataSet, sample: Sequence[Mapping[str, Any]], messages: str) -> Reading:
    keys, roles = set[str](), set[str]()
    for turn in _turns(sample, messages):
        keys.update(turn)
        roles.update(str(turn[key]) for key in ("role", "from") if key in turn)
    if "role" in keys and "role_tag" not in data_set.tags:
        columns = columns_of(data_set, "openai", messages=messages)
        return _recognised("openai", columns, f"column {messages!r} with role and content")
    words = {tag: _first(words, roles, data_set.tags.get(tag)) for tag, words in _ROLE_WORDS.items()}
    tags = {tag: word for tag, word in words.items() if word is not None}
    columns = columns_of(data_set, "sharegpt", messages=messages)
    columns = Columns(names=columns.names, tags={**columns.tags, **tags}, ranking=columns.ranking)
    keys_named = f"{columns.tags['role_tag']} and {columns.tags['content_tag']}"
    return _recognised("sharegpt", columns, f"column {messages!r} with {keys_named}")


def _turns(sample: Iterable[Mapping[str, Any]], messages: str) -> Iterable[Mapping[str, Any]]:
    for row in sample:
        value = row.get(messages)
        if isinstance(value, list):
            yield from (turn for turn in value if isinstance(turn, Mapping))


def _recognise_alpaca(data_set: DataSet, present: Sequence[str], prompt: str) -> Reading:
    response = _first(_RESPONSES, present, data_set.columns.get("response"))
    names = {"prompt": prompt} | ({"response": response} if response is not None else {})
    columns = columns_of(data_set, "alpaca", **names)
    if "chosen" in present and "rejected" in present and response is None:
        columns = Columns(names=columns.names, tags=columns.tags, ranking=True)
        return _recognised("alpaca", columns, f"columns {prompt!r}, 'chosen' and 'rejected'")
    return _recognised("alpaca", columns, " and ".join(f"column {name!r}" for name in names.values()))


def _recognised(name: str, columns: Columns, reason: str) -> Reading:
    return Reading(format=name, columns=columns, decision=f"read as {name}: it has {reason}")


def _first(candidates: Sequence[str], present: Iterable[str], given: str | None) -> str | None:
    """Take the given name, or the first candidate that is there."""
    if given is not None:
        return given
    found = set(present)
    return next((name for name in candidates if name in found), None)


def columns_of(data_set: DataSet, name: str, **recognised: str) -> Columns:
    """Put what was given over what was recognised over the defaults of the format."""
    names = {**DEFAULT_COLUMNS, **_FORMAT_COLUMNS.get(name, {}), **recognised, **data_set.columns}
    tags = {**DEFAULT_TAGS, **_FORMAT_TAGS.get(name, {}), **data_set.tags}
    return Columns(names=names, tags=tags, ranking=data_set.ranking)
