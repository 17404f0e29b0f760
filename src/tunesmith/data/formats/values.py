# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Values of cells, taken as what they say or refused: JSON text, truth values, numbers, texts, lists of objects."""

import json
import math
from collections.abc import Mapping
from typing import Any

from tunesmith.data.formats.base import RowError, as_text, describe

_TRUTH: Mapping[str, bool] = {"true": True, "false": False, "1": True, "0": False}


def parse_json(text: str, what: str, code: str) -> Any:
    """Parse JSON text of a cell, or say what is wrong with it."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at character {error.pos}"
        raise RowError(code, f"JSON is expected in {what}: {reason}.", "Correct the JSON.") from error
    except RecursionError as error:
        raise RowError(code, f"JSON in {what} is nested too deeply.", "Correct the JSON.") from error


def to_json(value: Any, what: str) -> str:
    """Write a value as JSON text, or say that it has none (bytes and dates of tables)."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError as error:
        raise RowError(
            "data.type_wrong", f"A value in {what} has no JSON text: {error}.", "Write it as text."
        ) from error


def read_object_list(value: Any, what: str) -> list[Mapping[str, Any]]:
    """Take a list of objects, or its JSON text, as tables hold it."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = parse_json(value, what, "data.type_wrong")
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise RowError(
            "data.type_wrong",
            f"A list of objects is expected in {what}, found {describe_list(value)}.",
            "Write it as a list of objects; messages have a role and a content each.",
        )
    return value


def describe_list(value: Any) -> str:
    """Name the JSON type of a value, and of a list the first element that is no object."""
    if isinstance(value, list):
        odd = next((item for item in value if not isinstance(item, Mapping)), None)
        return f"a list with {describe_list(odd)} in it"
    return "text" if isinstance(value, str) else describe(value)


def read_truth(value: Any, what: str) -> bool:
    """Read true or false as JSON or a table writes it; no other value is taken for either."""
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, str)):
        truth = _TRUTH.get(str(value).strip().lower())
        if truth is not None:
            return truth
    raise RowError(
        "data.type_wrong",
        f"True or false is expected in {what}, found {shown(value)}.",
        "Write true or false (or 1 or 0).",
    )


def read_number(value: Any, what: str) -> float:
    """Read a finite number, or the text of one."""
    number = _as_number(value)
    if number is None or not math.isfinite(number):
        raise RowError("data.type_wrong", f"A number is expected in {what}, found {shown(value)}.", "Correct the row.")
    return number


def _as_number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def read_texts(value: Any, what: str) -> list[str]:
    """Read one text or a list of texts."""
    values = value if isinstance(value, list) else [value]
    return [as_text(item, what) for item in values]


def shown(value: Any) -> str:
    """Show a value of a cell in a message: short texts and numbers as they are, others by their type."""
    return repr(value[:40]) if isinstance(value, str) else describe(value)
