# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The contract of a format: a function (row, columns) → Example, and what it may raise about a row.

A format knows names of columns and roles; it knows nothing of files, templates or tokens.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from tunesmith.core.names import nearest
from tunesmith.core.registry import Registry
from tunesmith.core.types import Example, RowRef

# Keys of `columns` in dataset_info.json → the column meant when the key is not given. LLaMA-Factory's keys come first.
DEFAULT_COLUMNS: Mapping[str, str | None] = {
    "prompt": "instruction",
    "query": "input",
    "response": "output",
    "history": "history",
    "messages": "conversations",
    "system": "system",
    "tools": "tools",
    "images": "images",
    "videos": "videos",
    "audios": "audios",
    "chosen": "chosen",
    "rejected": "rejected",
    "kto_tag": None,
    "text": "text",
    "label": None,
    "reference_answer": None,
    "candidates": None,
    "entities": "entities",
    "anchor": "anchor",
    "positive": "positive",
    "negative": "negative",
    "similarity": None,
    "chosen_messages": "chosen_messages",
    "rejected_messages": "rejected_messages",
    "rejected_response": "rejected_response",
    "positive_messages": "positive_messages",
    "negative_messages": "negative_messages",
    "channel": "channel",
    "objects": "objects",
}

# Keys of `tags` → the word meant when the key is not given.
DEFAULT_TAGS: Mapping[str, str] = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}

MEDIA_KEYS = ("images", "videos", "audios")
# Columns that a row may lack; a description that names one which no row has is wrong all the same.
OPTIONAL_KEYS = (
    *("query", "history", "system", "tools", "kto_tag", "label", "reference_answer", "candidates", "similarity"),
    *("negative", "negative_messages", "channel", "objects", *MEDIA_KEYS),
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One record of a source file."""

    source: RowRef
    values: Mapping[str, Any]


class RowError(Exception):
    """One row that cannot be used; the reader collects these and names all their rows in one problem."""

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which column holds what, and which word names which role; a name of None means that there is no such column."""

    names: Mapping[str, str | None] = field(default_factory=lambda: DEFAULT_COLUMNS)
    tags: Mapping[str, str] = field(default_factory=lambda: DEFAULT_TAGS)
    ranking: bool = False

    def optional(self, row: Row, key: str) -> Any:
        """Read a column that may be absent; absent, null and empty text are all None."""
        name = self.names[key]
        value = row.values.get(name) if name is not None else None
        return None if value == "" else value

    def required(self, row: Row, key: str) -> Any:
        """Read a column that must be there and not null; it may be empty."""
        name = self.names[key]
        if name is None or name not in row.values:
            raise missing_column(row, name or key, key)
        if row.values[name] is None:
            raise RowError("data.value_missing", f"Column {name!r} is null.", "Fill it in, or remove the row.")
        return row.values[name]

    def text(self, row: Row, key: str) -> str:
        """Read an optional column of text; absent is the empty string."""
        value = self.optional(row, key)
        return "" if value is None else as_text(value, f"column {self.names[key]!r}")

    def has(self, row: Row, key: str) -> bool:
        """Say whether the row has that column."""
        return self.names[key] in row.values

    def further(self, row: Row, read: Collection[str]) -> dict[str, Any]:
        """Give the columns that no key of `read` names, without empty ones, for rewards and losses to use.

        `solution` is always among them: rewards written for ms-swift ask for it by name.
        """
        taken = {self.names[key] for key in read} - {"solution"}
        return {name: value for name, value in row.values.items() if name not in taken and value is not None}


Format = Callable[[Row, Columns], Example]
formats: Registry[Format] = Registry("data format", "tunesmith.data.formats", code="data.format_unknown")


def missing_column(row: Row, name: str, key: str) -> RowError:
    """Say that a column is not there, what is, and how to name another."""
    present = [str(column) for column in row.values]
    return RowError(
        "data.column_missing",
        f"Column {name!r} is missing; the row has {', '.join(map(repr, present)) or 'no columns'}.",
        f'Name the right column in dataset_info.json: "columns": {{"{key}": …}}.{nearest(name, present)}',
    )


def as_text(value: Any, what: str) -> str:
    """Take text as it is and refuse anything else, naming what was found."""
    if isinstance(value, str):
        return _without_surrogates(value, what)
    raise RowError(
        "data.type_wrong",
        f"Text is expected in {what}, found {describe(value)}.",
        "Write it as text, or name the column that holds the text.",
    )


def _without_surrogates(text: str, what: str) -> str:
    """Refuse half characters, which JSON can write (\\ud83d alone) and no tokenizer can read."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RowError(
            "data.encoding_wrong",
            f"The text in {what} has half a character ({text[error.start]!a}) at position {error.start}.",
            "Write the character whole, or remove it.",
        ) from error
    return text


def describe(value: Any) -> str:
    """Name the JSON type of a value, with a short one shown."""
    names = {dict: "an object", list: "a list", bool: "a truth value", type(None): "null"}
    kind = names.get(type(value), "a number")
    return f"{kind} ({value})" if isinstance(value, (bool, int, float)) else kind
