# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Checks each entry against the index: unknown and pending keys, types, choices, bounds, keys without effect."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from tunesmith.config.index import Index, PendingKey
from tunesmith.config.source import Entry
from tunesmith.config.values import InvalidValueError, read_value
from tunesmith.core.errors import Problem, Where
from tunesmith.core.names import nearest


def check_entry(entry: Entry, index: Index, chosen: Mapping[str, str]) -> Any | Problem:
    """Give the value of a built key, None for a pending key in its neutral state, or what is wrong."""
    if entry.key in index.pending:
        return _check_pending(entry, index.pending[entry.key], chosen)
    if entry.key not in index.keys:
        return Problem(
            code="config.key_unknown",
            message=f"There is no key {entry.key!r}.",
            remedy="Correct or remove it; `tunesmith check --help` lists all keys."
            + nearest(entry.key, index.known_names()),
            where=entry.where(),
        )
    pending_value = _pending_value(entry, index)
    if pending_value is not None:
        return _known_not_built(entry, f"{entry.key}: {word_of(entry)}", pending_value, _choices_remedy(entry, index))
    try:
        return read_value(index.keys[entry.key], entry.value, entry.text)
    except InvalidValueError as error:
        name = entry.written_as or entry.key
        return Problem(code=error.code, message=f"{name} {error}.", remedy=str(error.remedy), where=entry.where())


def word_of(entry: Entry) -> str:
    """The value as one word: what the user wrote, or its text form."""
    if entry.text is not None:
        return entry.text.strip()
    return str(entry.value).lower() if isinstance(entry.value, bool) else str(entry.value)


def chosen_words(entries: Iterable[Entry], index: Index) -> dict[str, str]:
    """Selecting words of a run: what the user wrote for each key, else the defaults of built keys."""
    words = {name: str(entry.default) for name, entry in index.keys.items()}
    words.update({entry.key: word_of(entry) for entry in entries if entry.value is not None})
    return words


def is_selected(selected_by: Mapping[str, tuple[str, ...]], chosen: Mapping[str, str]) -> bool:
    """Say whether a part is active: every selecting key holds one of the part's names (`*`: any value)."""
    return all(
        key in chosen and (chosen[key].lower() in names or ("*" in names and chosen[key] != str(None)))
        for key, names in selected_by.items()
    )


def is_neutral(value: Any, neutral: Iterable[Any]) -> bool:
    """Say whether a pending key's value changes nothing: its default, null or empty."""
    if value is None or value in ("", [], {}):
        return True
    return any(_same(value, other) for other in neutral)


def _same(value: Any, other: Any) -> bool:
    if str(value).strip().lower() == str(other).strip().lower():
        return True
    try:
        return not isinstance(value, bool) and not isinstance(other, bool) and float(value) == float(other)
    except (TypeError, ValueError):
        return False


def _check_pending(entry: Entry, pending: PendingKey, chosen: Mapping[str, str]) -> Problem | None:
    if is_neutral(entry.value, pending.neutral) or not is_selected(pending.selected_by, chosen):
        return None
    neutral = ", ".join("null" if item is None else str(item).lower() for item in pending.neutral)
    remedy = f"Leave it out or at its neutral value ({neutral}); docs/compatibility.md lists what is built."
    return _known_not_built(entry, entry.written_as or entry.key, pending.waits_for, remedy)


def _pending_value(entry: Entry, index: Index) -> str | None:
    table = index.pending_values.get(entry.key, {})
    word = word_of(entry)
    return next((waits_for for value, waits_for in table.items() if fnmatchcase(word, value)), None)


def _choices_remedy(entry: Entry, index: Index) -> str:
    choices = index.keys[entry.key].choices
    return f"Choose one of: {', '.join(choices)}." if choices else "Choose another value."


def _known_not_built(entry: Entry, what: str, waits_for: str, remedy: str) -> Problem:
    return Problem(
        code="config.key_pending",
        message=f"{what} is known, not built yet: it waits for {waits_for}.",
        remedy=remedy,
        where=entry.where(),
    )


def inactive_warning(entries: Iterable[Entry], index: Index, chosen: Mapping[str, str]) -> Problem | None:
    """List the keys of parts that are not chosen in one warning."""
    idle = [entry for entry in entries if _is_idle(entry, index, chosen)]
    if not idle:
        return None
    names = ", ".join(entry.written_as or entry.key for entry in idle)
    verb = "belongs to a part that is" if len(idle) == 1 else "belong to parts that are"
    return Problem(
        code="config.keys_inactive",
        message=f"{names} {verb} not chosen in this run and will have no effect: {_reasons(idle, index, chosen)}.",
        remedy="Remove them, or choose the part they belong to.",
        where=Where(file=idle[0].file, line=idle[0].line, key=idle[0].key),
        severity="warn",
    )


def _is_idle(entry: Entry, index: Index, chosen: Mapping[str, str]) -> bool:
    if entry.value is None:
        return False
    if entry.key in index.pending:
        pending = index.pending[entry.key]
        return not is_neutral(entry.value, pending.neutral) and not is_selected(pending.selected_by, chosen)
    return entry.key in index.keys and not is_selected(index.keys[entry.key].selected_by, chosen)


def _reasons(idle: Iterable[Entry], index: Index, chosen: Mapping[str, str]) -> str:
    selectors = {
        key: chosen.get(key, "unset")
        for entry in idle
        for key in (index.keys.get(entry.key) or index.pending[entry.key]).selected_by
    }
    return ", ".join(f"{key} is {value}" for key, value in sorted(selectors.items()))
