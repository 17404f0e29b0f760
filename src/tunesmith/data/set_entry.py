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

_HUB_KEYS = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")
_LOCAL_KEYS = ("file_name", "formatting", "ranking", "columns", "tags", "split", "num_samples")
_IGNORED_KEYS = ("subset", "folder", "file_sha1")  # They describe sets on a hub, or are left from old files.

SPLIT_PATTERN = re.compile(r"train(?:\[(?P<start>\d*%?):(?P<end>\d*%?)\])?")


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
        raise TunesmithError([_invalid(where, f"Its description must be an object, found {entry!r}.")])
    problems = [*_source_problems(entry, where), *_value_problems(entry, where), *_name_problems(entry, where)]
    if problems:
        raise TunesmithError(problems)
    known = [*_LOCAL_KEYS, *_IGNORED_KEYS, *_HUB_KEYS]
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


def hub_problem(what: str, where: Where) -> Problem:
    """Say that sets on a hub or in a cloud are not fetched."""
    return Problem(
        code="data.hub_unsupported",
        message=f"{what} names data that would have to be fetched from a hub, a script or a cloud; only local files "
        "are read.",
        remedy="Download the data and name the file: file_name in dataset_info.json, or its path in `dataset`.",
        where=where,
    )


def _source_problems(entry: Mapping[str, Any], where: Where) -> Iterator[Problem]:
    if isinstance(entry.get("file_name"), str):
        return
    on_hub = [key for key in _HUB_KEYS if entry.get(key)]
    if on_hub:
        yield hub_problem(f"Data set {where.dataset!r} ({on_hub[0]}: {entry[on_hub[0]]})", where)
    else:
        yield _invalid(where, "It needs a file_name: the path of its file or folder.")


def _value_problems(entry: Mapping[str, Any], where: Where) -> Iterator[Problem]:
    formatting, split, count = entry.get("formatting"), entry.get("split"), entry.get("num_samples")
    if formatting is not None and formatting not in formats.names():
        close = nearest(str(formatting), formats.names())
        yield _invalid(where, f"formatting is {formatting!r}; known: {', '.join(formats.names())}.{close}")
    if not isinstance(entry.get("ranking", False), bool):
        yield _invalid(where, f"ranking must be true or false, found {entry['ranking']!r}.")
    if split is not None and not (isinstance(split, str) and SPLIT_PATTERN.fullmatch(split)):
        yield _invalid(where, f"split is {split!r}; a local file has the split 'train', or a slice: 'train[:100]'.")
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
        yield _invalid(where, f"num_samples must be a whole number from 1, found {count!r}.")


def _name_problems(entry: Mapping[str, Any], where: Where) -> Iterator[Problem]:
    for part, known in (("columns", DEFAULT_COLUMNS), ("tags", DEFAULT_TAGS)):
        given = entry.get(part)
        if given is not None and not isinstance(given, Mapping):
            yield _invalid(where, f"{part} must be an object, found {given!r}.")
            continue
        for key, value in (given or {}).items():
            if key not in known:
                yield _invalid(where, f"{part} has no {key!r}; known: {', '.join(known)}.{nearest(key, known)}")
            elif value is not None and not isinstance(value, str):
                yield _invalid(where, f"{part}: {key} must be a name, found {value!r}.")


def _invalid(where: Where, message: str) -> Problem:
    return Problem(
        code="data.entry_invalid",
        message=f"The description of data set {where.dataset!r} is wrong. {message}",
        remedy=f"Correct the entry {where.dataset!r} in {where.file or 'dataset_dir'}.",
        where=where,
    )
