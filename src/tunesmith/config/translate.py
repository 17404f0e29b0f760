# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Turns names and values of older releases into today's; refuses names without an equivalent, with what to write."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tunesmith.config.index import Index
from tunesmith.config.source import Entry
from tunesmith.core.errors import Problem


@dataclass(frozen=True, kw_only=True)
class Translated:
    """Entries under today's names, with the problems and warnings that came up."""

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def translate(entries: Iterable[Entry], index: Index) -> Translated:
    """Translate one layer (a file, or the command line); a new name in the same layer wins over the old one."""
    kept: dict[str, Entry] = {}
    problems: list[Problem] = []
    warnings: list[Problem] = []
    for entry in _new_names_first(entries, index):
        outcome = _translate_one(entry, index)
        if isinstance(outcome, Problem):
            problems.append(outcome)
        elif outcome is not None:
            earlier = kept.get(outcome.key)
            if earlier is not None and earlier.written_as == outcome.written_as:  # words of a command line
                kept |= {today.key: today for today in _with_values_of_today(outcome, index)}
                warnings.extend(_repeated(earlier, outcome))
            elif earlier is None or _is_zero_warmup(earlier):
                kept |= {today.key: today for today in _with_values_of_today(outcome, index)}
            elif not _is_zero_warmup(outcome) and str(outcome.value) != str(earlier.value):
                warnings.append(_overridden(outcome, earlier))
    return Translated(entries=tuple(kept.values()), problems=tuple(problems), warnings=tuple(warnings))


def _new_names_first(entries: Iterable[Entry], index: Index) -> list[Entry]:
    return sorted(entries, key=lambda entry: entry.key in index.renamed)


def _translate_one(entry: Entry, index: Index) -> Entry | Problem | None:
    if entry.key in index.renamed:
        renamed = _rename(entry, index.renamed[entry.key])
        return _translate_one(renamed, index) if isinstance(renamed, Entry) else renamed
    if entry.key in index.gone:
        return _gone(entry, index.gone[entry.key])
    if entry.key in index.foreign:
        return Problem(
            code="config.key_foreign",
            message=f"{entry.key} is no key of tunesmith.",
            remedy=index.foreign[entry.key],
            where=entry.where(),
        )
    return entry


def _rename(entry: Entry, rule: Mapping[str, Any]) -> Entry | Problem | None:
    renamed = replace(entry, key=rule["to"], written_as=entry.key)
    convert = rule.get("convert")
    if convert is None or entry.value is None:
        return renamed
    try:
        value = _convert(convert, entry.value)
    except ValueError as error:
        return Problem(
            code="config.value_invalid",
            message=f"{entry.key} {error}.",
            remedy=f"Write {rule['to']}, its name today; see `tunesmith help {rule['to']}`.",
            where=entry.where(),
        )
    return None if value is None else replace(renamed, value=value, text=None)


def _convert(convert: str | Mapping[str, Any], value: Any) -> Any:
    word = str(value).strip().lower()
    if isinstance(convert, Mapping):
        if word not in convert:
            raise ValueError(f"takes {' or '.join(convert)}, not {value!r}")
        return convert[word]
    if convert == "not":
        if word not in ("true", "false"):
            raise ValueError(f"takes true or false, not {value!r}")
        return word == "false"
    number = _number(value)
    if convert == "square":
        return int(number) ** 2
    if not 0 <= number < 1:
        raise ValueError(f"takes a share from 0 to below 1, not {value!r}")
    return number


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"takes a number, not {value!r}") from None


def _gone(entry: Entry, rule: Mapping[str, Any]) -> Problem | None:
    harmless = rule.get("harmless", ())
    word = str(entry.value).strip().lower()
    if entry.value is None or harmless == "any" or word in harmless:
        return None
    return Problem(
        code="config.key_gone",
        message=f"{entry.written_as or entry.key} has no equivalent.",
        remedy=rule["remedy"],
        where=entry.where(),
    )


def _with_values_of_today(entry: Entry, index: Index) -> list[Entry]:
    words = index.values_renamed.get(entry.key, {})
    written = str(entry.text if entry.text is not None else entry.value).strip().lower()
    today = words.get(written)
    if today is None:
        return [entry]
    if isinstance(today, str):
        return [replace(entry, value=today, text=None)]
    return [replace(entry, key=key, value=value, text=None, written_as=entry.key) for key, value in today.items()]


def _is_zero_warmup(entry: Entry) -> bool:
    # Files of LLaMA-Factory carry `warmup_steps: 0` beside `warmup_ratio: 0.1`, or the other way round.
    return entry.key == "warmup_steps" and str(entry.value) in ("0", "0.0", "None")


def _repeated(earlier: Entry, later: Entry) -> list[Problem]:
    name = later.written_as or later.key
    if str(earlier.value) == str(later.value):
        return []
    message = f"{name} is given twice: the last, {later.value}, is used, and {earlier.value} is not."
    remedy = f"Leave one {name} out."
    return [Problem(code="config.key_overridden", message=message, remedy=remedy, where=later.where(), severity="warn")]


def _overridden(old: Entry, new: Entry) -> Problem:
    return Problem(
        code="config.key_overridden",
        message=f"{old.written_as} is an older name of {new.key}, which is set too: {new.key} = {new.value} is used.",
        remedy=f"Leave {old.written_as} out.",
        where=old.where(),
        severity="warn",
    )
