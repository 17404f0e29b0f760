# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The files of a data set that lies on this machine: a file, a folder of files, or a copy of a hub's data set."""

import re
from collections.abc import Sequence
from pathlib import Path

from tunesmith.core.errors import refusal, warning
from tunesmith.core.report import emit_warning
from tunesmith.data.sources.base import file_type, reader_of, readers
from tunesmith.data.sources.hub import HubSet, split_files

INFO_NAME = "dataset_info.json"
_TRAIN_NAME = re.compile(r"(^|[-_.])train(ing)?([-_.]|$)", re.IGNORECASE)
_TEST_NAME = re.compile(r"(^|[-_.])(test|dev|val|valid|validation|eval)([-_.]|$)", re.IGNORECASE)


def files_of_subset(path: Path, subset: str, name: str) -> tuple[Path, ...]:
    """Give the files of a subset in a folder that is a copy of a hub's data set."""
    if path.is_file():
        raise refusal(
            "data.set_name_invalid",
            f"The file {path.as_posix()} has no subsets, so {subset!r} names nothing.",
            "Leave the subset out.",
            dataset=name,
        )
    return split_files(path, HubSet(hub="hf", repo=path.as_posix(), subset=subset))


def files_of(path: Path, name: str) -> tuple[Path, ...]:
    """Give a file itself, or the data files of a folder in order of name; they must be of one type."""
    if path.is_file():
        reader_of(path)
        return (path,)
    files = sorted(file for file in path.iterdir() if _is_data(file))
    types = sorted({file_type(file) for file in files})
    if is_copy_of_hub(path):
        return split_files(path, HubSet(hub="hf", repo=path.as_posix()))
    if len(types) != 1:
        found = f"data files of several types ({', '.join(types)})" if types else "no data files"
        raise refusal(
            "data.folder_unreadable",
            f"The folder {path.as_posix()} holds {found}.",
            f"Keep files of one type in it: {', '.join(readers.names())}."
            + (f" To use its {INFO_NAME}, set dataset_dir." if (path / INFO_NAME).is_file() else ""),
            dataset=name,
        )
    _warn_of_splits(path, files, name)
    return tuple(files)


def is_copy_of_hub(path: Path) -> bool:
    """Say whether a folder holds a data set as a hub does: its files lie in folders inside it."""
    if not path.is_dir() or any(_is_data(file) for file in path.iterdir()):
        return False
    return any(_is_data(file) for file in path.rglob("*"))


def _is_data(file: Path) -> bool:
    return file_type(file) in readers.names() and file.name != INFO_NAME


def _warn_of_splits(path: Path, files: Sequence[Path], name: str) -> None:
    """Warn where one folder holds training and test files by their names: all of them are read as one set."""
    tests = [file.name for file in files if _TEST_NAME.search(file.stem)]
    if tests and any(_TRAIN_NAME.search(file.stem) for file in files):
        emit_warning(
            warning(
                "data.folder_mixes_splits",
                f"The folder {path.as_posix()} holds files for training and for tests ({', '.join(tests)}); all are "
                "read as one data set.",
                "Name the files for training one by one, or move the others into a folder of their own.",
                dataset=name,
            )
        )
