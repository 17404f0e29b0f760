# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Reads command-line words into entries: `key=value`, `--key value`, `--key=value`, and a bare `--flag`."""

import re
from collections.abc import Sequence

from tunesmith.config.index import Index, KeyEntry
from tunesmith.config.source import Entry, read_scalar
from tunesmith.core.errors import Problem, TunesmithError, Where

_ASSIGNMENT = re.compile(r"(?:--)?([A-Za-z_][\w.-]*)=(.*)", re.DOTALL)
_BOOLEAN_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "1", "0"})


def read_words(words: Sequence[str], index: Index) -> tuple[Entry, ...]:
    """Read all words, or refuse with every word that is neither a key nor a key's value."""
    entries: list[Entry] = []
    problems: list[Problem] = []
    position = 0
    while position < len(words):
        word = words[position]
        match = _ASSIGNMENT.fullmatch(word)
        if match:
            entries.append(_entry(match[1], match[2]))
            position += 1
        elif word.startswith("--") and len(word) > 2:
            values = _values_after(words, position, index)
            entries.append(_entry(word[2:], ",".join(values) if values else "true"))
            position += 1 + len(values)
        else:
            problems.append(_stray(word))
            position += 1
    if problems:
        raise TunesmithError(problems)
    return tuple(entries)


def _entry(name: str, text: str) -> Entry:
    value, plain = read_scalar(text)
    return Entry(key=name.replace("-", "_"), value=value, text=plain)


def _values_after(words: Sequence[str], position: int, index: Index) -> list[str]:
    name = words[position][2:].replace("-", "_")
    entry = index.keys.get(name) or index.keys.get(str(index.renamed.get(name, {}).get("to", "")))
    following = words[position + 1 :]
    if entry is not None and entry.kinds[0] == "boolean":
        return [word for word in following[:1] if _is_value_of_flag(word, entry)]
    values: list[str] = []
    for word in following:
        if word.startswith("--") or (values and (entry is None or "list" not in entry.kinds or "=" in word)):
            break
        values.append(word)
    return values


def _is_value_of_flag(word: str, entry: KeyEntry) -> bool:
    takes_text = "string" in entry.kinds and not word.startswith("--") and "=" not in word
    takes_null = entry.takes_null and word.lower() == "null"
    return word.lower() in _BOOLEAN_WORDS or takes_text or takes_null


def _stray(word: str) -> Problem:
    return Problem(
        code="cli.word_unknown",
        message=f"The word {word!r} is no key=value and no --key.",
        remedy="Write key=value or --key value; the configuration file comes first.",
        where=Where(key=None),
    )
