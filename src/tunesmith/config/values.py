# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Turns what a user wrote for a key into the key's type, and checks choices and bounds; knows only the index."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from tunesmith.config.index import KeyEntry, Kind
from tunesmith.core.names import nearest

_TRUE = frozenset({"true", "yes", "on", "y", "1"})
_FALSE = frozenset({"false", "no", "off", "n", "0"})
_NULL = frozenset({"null", "~", ""})
_KIND_NAMES: Mapping[Kind, str] = {
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "list": "a list or comma-separated text",
    "object": "a mapping",
}
_BOUND_NAMES = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


class InvalidValueError(ValueError):
    """A value that a key cannot take; `code` is the error code, the text completes 'key … ' in a message."""

    def __init__(self, code: str, text: str, remedy: str) -> None:
        super().__init__(text)
        self.code, self.remedy = code, remedy


def read_value(entry: KeyEntry, value: Any, text: str | None = None) -> Any:
    """Convert a value to the key's type; `text` is the scalar as written, for keys that take text.

    None stands for "not set": the key's default. Raises InvalidValueError.
    """
    if value is None or (isinstance(value, str) and value.strip().lower() in _NULL and "string" not in entry.kinds):
        return None if entry.is_nullable else entry.default
    for kind in entry.kinds:
        converted = _READERS[kind](entry, value, text)
        is_word = kind == "string" and _takes_numbers(entry)
        if converted is not None and not (is_word and converted not in entry.choices):
            _check_choices(entry, converted)
            _check_bounds(entry, converted)
            return converted
    expected = " or ".join(_kind_name(entry, kind) for kind in entry.kinds)
    raise InvalidValueError(
        "config.value_invalid", f"takes {expected}, not {_describe(value)}", f"Write {expected} for {entry.name}."
    )


def _takes_numbers(entry: KeyEntry) -> bool:
    return "integer" in entry.kinds or "number" in entry.kinds


def _kind_name(entry: KeyEntry, kind: Kind) -> str:
    is_word = kind == "string" and entry.choices and _takes_numbers(entry)
    return " or ".join(entry.choices) if is_word else _KIND_NAMES[kind]


def _read_boolean(entry: KeyEntry, value: Any, text: str | None) -> bool | None:
    if isinstance(value, bool):
        return None if _is_choice(entry, text, value) else value
    if isinstance(value, int) and value in (0, 1) and "integer" not in entry.kinds:
        return bool(value)
    if isinstance(value, str) and value not in entry.choices:
        lowered = value.strip().lower()
        return True if lowered in _TRUE else False if lowered in _FALSE else None
    return None


def _is_choice(entry: KeyEntry, text: str | None, value: bool) -> bool:
    # YAML reads the choice `no` as false.
    return not value and "no" in entry.choices and text in (None, "no")


def _read_integer(entry: KeyEntry, value: Any, text: str | None) -> int | None:
    number = _read_number(entry, value, text)
    return int(number) if number is not None and number == int(number) else None


def _read_number(entry: KeyEntry, value: Any, text: str | None) -> float | int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return _parse_number(value.strip())
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def _parse_number(text: str) -> float | int | None:
    for read in (int, float):
        try:
            number: float = read(text)
        except ValueError:
            continue
        return number if math.isfinite(number) else None
    return None


def _read_string(entry: KeyEntry, value: Any, text: str | None) -> str | None:
    if text is not None:
        return text
    if isinstance(value, list | dict | tuple):
        return None
    return "no" if value is False and "no" in entry.choices else str(value)


def _read_list(entry: KeyEntry, value: Any, text: str | None) -> list[Any] | None:
    if isinstance(value, dict):
        return None
    if isinstance(value, str):
        parts: list[Any] = [part.strip() for part in value.split(",") if part.strip()]
    elif isinstance(value, list | tuple):
        parts = list(value)
    else:
        parts = [value if text is None else text]
    kind: Kind = entry.items or "string"
    read = [None if part is None else _READERS[kind](entry, part, None) for part in parts]
    return None if any(part is None for part in read) else read


def _read_object(entry: KeyEntry, value: Any, text: str | None) -> dict[str, Any] | None:
    if isinstance(value, dict):
        return value
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            parsed = json.loads(value)
        except ValueError:
            return None
        return parsed if isinstance(parsed, dict) else None
    return None


_READERS: dict[Kind, Callable[[KeyEntry, Any, str | None], Any]] = {
    "boolean": _read_boolean,
    "integer": _read_integer,
    "number": _read_number,
    "string": _read_string,
    "list": _read_list,
    "object": _read_object,
}


def _check_choices(entry: KeyEntry, value: Any) -> None:
    if not entry.choices:
        return
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, str) and item not in entry.choices:
            raise InvalidValueError(
                "config.value_unknown",
                f"has no choice {item!r}",
                f"Choose one of: {', '.join(entry.choices)}." + nearest(item, entry.choices),
            )


def _check_bounds(entry: KeyEntry, value: Any) -> None:
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, bool) or not isinstance(item, int | float):
            continue
        if not all(_holds(item, bound, limit) for bound, limit in entry.bounds.items()):
            limits = " and ".join(f"{_BOUND_NAMES[bound]} {limit:g}" for bound, limit in entry.bounds.items())
            raise InvalidValueError(
                "config.value_out_of_range", f"must be {limits}, not {item:g}", f"Write a value {limits}."
            )


def _holds(value: float, bound: str, limit: float) -> bool:
    match bound:
        case "ge":
            return value >= limit
        case "gt":
            return value > limit
        case "le":
            return value <= limit
        case _:
            return value < limit


def _describe(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"the list {list(value)!r}"
    if isinstance(value, dict):
        return f"the mapping {value!r}"
    return repr(value)


def read_names(value: Any) -> list[str]:
    """Read a list of names given as a list or as comma-separated text."""
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else []
    return [str(part).strip() for part in parts if str(part).strip()]
