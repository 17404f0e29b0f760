# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The entries of dataset_info.json: which keys and values they may have, and everything that is wrong with one.

Only the entries that a run uses are checked; the others may be for other tools.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tunesmith.core.errors import Problem, TunesmithError, Where, refusal, warning
from tunesmith.core.names import nearest
from tunesmith.core.report import emit_warning
from tunesmith.data.formats.base import DEFAULT_COLUMNS, DEFAULT_TAGS, formats
from tunesmith.data.sources.base import file_type, readers

# Where an entry's rows come from, in LLaMA-Factory's order.
_SOURCE_KEYS = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name", "file_name")
_HUB_KEYS = ("hf_hub_url", "ms_hub_url")
_TEXT_KEYS = ("subset", "folder")
_OTHER_KEYS = ("formatting", "ranking", "columns", "tags", "split", "num_samples", *_TEXT_KEYS)
_IGNORED_KEYS = ("file_sha1",)  # Left from old files.

SPLIT_PATTERN = re.compile(r"train(?:\[(?P<start>\d*%?):(?P<end>\d*%?)\])?")
_HUB_HINT = "write 'test', or a slice: 'test[:100]'"
LOCAL_SPLITS = "a local file has the split 'train', or a slice: 'train[:100]'"
_HUB_SPLIT = re.compile(r"(?P<name>[\w.-]+)(?P<rows>\[\d*%?:\d*%?\])?")


def read_info(path: Path) -> Mapping[str, Any]:
    """Read dataset_info.json."""
    try:
        info = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise refusal(
            "data.info_malformed",
            f"{path.as_posix()} is no valid JSON: {error.msg} in line {error.lineno}, column {error.colno}.",
            "Correct the file.",
            file=path.as_posix(),
            line=error.lineno,
        ) from error
    except UnicodeDecodeError as error:
        raise refusal(
            "data.info_malformed",
            f"{path.as_posix()} is no UTF-8 text: byte {error.start}.",
            "Save the file as UTF-8.",
            file=path.as_posix(),
        ) from error
    if not isinstance(info, dict):
        raise refusal(
            "data.info_malformed",
            f"{path.as_posix()} must be an object of data set name → description.",
            'Write it as {"my_set": {"file_name": "my_set.json"}}.',
            file=path.as_posix(),
        )
    return info


def check_entry(name: str, entry: Any, file: str | None) -> None:
    """Refuse an entry with everything that is wrong with it; a key without effect is a warning."""
    where = Where(file=file, dataset=name)
    if not isinstance(entry, Mapping):
        raise TunesmithError([invalid_entry(where, f"Its description must be an object, found {entry!r}.")])
    problems = [*_source_problems(entry, where), *_value_problems(entry, where), *_name_problems(entry, where)]
    if problems:
        raise TunesmithError(problems)
    known = [*_SOURCE_KEYS, *_OTHER_KEYS, *_IGNORED_KEYS]
    for key in [key for key in entry if key not in known]:
        emit_warning(
            warning(
                "data.entry_key_unknown",
                f"The description of data set {name!r} has a key {key!r}, which nothing reads.",
                f"Remove it.{nearest(key, known)}",
                file=file,
                key=key,
                dataset=name,
            )
        )


def entry_source(entry: Mapping[str, Any], *, prefers_modelscope: bool) -> tuple[str, str]:
    """Give the key and the value of the source that is read; entries on both hubs are taken from the preferred one."""
    order = ("ms_hub_url", *_SOURCE_KEYS) if prefers_modelscope else _SOURCE_KEYS
    key = next(key for key in order if entry.get(key))
    return key, entry[key]


def split_parts(split: str) -> tuple[str, str]:
    """Split `test[:10%]` into its name and its range of rows, which may be empty."""
    match = _HUB_SPLIT.fullmatch(split)
    assert match is not None, f"split {split!r} was checked with the entry"
    return match["name"], match["rows"] or ""


def _source_problems(entry: Mapping[str, Any], where: Where) -> Iterator[Problem]:
    named = [key for key in _SOURCE_KEYS if entry.get(key)]
    wrong = [key for key in named if not isinstance(entry[key], str)]
    if wrong:
        yield invalid_entry(where, f"{wrong[0]} must be text, found {entry[wrong[0]]!r}.")
    elif not named:
        yield invalid_entry(where, f"It needs the place of its rows: one of {', '.join(_SOURCE_KEYS)}.")
    elif named[0] == "script_url":
        yield _script_problem(entry["script_url"], where)
    elif named[0] == "om_hub_url":
        yield Problem(
            code="data.hub_unsupported",
            message=f"Data set {where.dataset!r} lies on the openMind hub ({entry['om_hub_url']}), which is not read.",
            remedy="Name hf_hub_url or ms_hub_url, or download the data and name its file_name.",
            where=where,
        )


def _script_problem(url: str, where: Where) -> Problem:
    return Problem(
        code="data.script_refused",
        message=f"Data set {where.dataset!r} is made by a script (script_url: {url}); foreign code is never run to "
        "read data.",
        remedy="Run the script yourself where you trust it, save its rows as JSON lines or parquet, and name them in "
        "file_name.",
        where=where,
    )


def _value_problems(entry: Mapping[str, Any], where: Where) -> Iterator[Problem]:
    formatting, split, count = entry.get("formatting"), entry.get("split"), entry.get("num_samples")
    if formatting is not None and formatting not in formats.names():
        close = nearest(str(formatting), formats.names())
        yield invalid_entry(where, f"formatting is {formatting!r}; known: {', '.join(formats.names())}.{close}")
    if not isinstance(entry.get("ranking", False), bool):
        yield invalid_entry(where, f"ranking must be true or false, found {entry['ranking']!r}.")
    pattern, hint = (_HUB_SPLIT, _HUB_HINT) if _may_have_splits(entry) else (SPLIT_PATTERN, LOCAL_SPLITS)
    if split is not None and not (isinstance(split, str) and pattern.fullmatch(split)):
        yield invalid_entry(where, f"split is {split!r}; {hint}.")
    for key in _TEXT_KEYS:
        if entry.get(key) is not None and not isinstance(entry[key], str):
            yield invalid_entry(where, f"{key} must be text, found {entry[key]!r}.")
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
        yield invalid_entry(where, f"num_samples must be a whole number from 1, found {count!r}.")


def _may_have_splits(entry: Mapping[str, Any]) -> bool:
    """Say whether an entry is on a hub, or may be a folder that holds a data set as a hub does: that is seen later."""
    if any(entry.get(key) for key in _HUB_KEYS):
        return True
    name = entry.get("file_name")
    return isinstance(name, str) and not entry.get("cloud_file_name") and file_type(Path(name)) not in readers.names()


def _name_problems(entry: Mapping[str, Any], where: Where) -> Iterator[Problem]:
    for part, known in (("columns", DEFAULT_COLUMNS), ("tags", DEFAULT_TAGS)):
        given = entry.get(part)
        if given is not None and not isinstance(given, Mapping):
            yield invalid_entry(where, f"{part} must be an object, found {given!r}.")
            continue
        for key, value in (given or {}).items():
            if key not in known:
                yield invalid_entry(where, f"{part} has no {key!r}; known: {', '.join(known)}.{nearest(key, known)}")
            elif value is not None and not isinstance(value, str):
                yield invalid_entry(where, f"{part}: {key} must be a name, found {value!r}.")


def invalid_entry(where: Where, message: str) -> Problem:
    """Say what is wrong with an entry."""
    return Problem(
        code="data.entry_invalid",
        message=f"The description of data set {where.dataset!r} is wrong. {message}",
        remedy=f"Correct the entry {where.dataset!r} in {where.file or 'dataset_dir'}.",
        where=where,
    )
