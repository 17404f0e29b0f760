# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets by name: entries of dataset_info.json, direct paths of files and folders, or an inline description.

It finds files and says how they are described; it opens none of them but dataset_info.json.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunesmith.core.errors import Problem, TunesmithError, Where, refusal
from tunesmith.core.names import nearest
from tunesmith.data.set_entry import check_entry, hub_problem, read_info
from tunesmith.data.sources.base import file_type, readers

INFO_NAME = "dataset_info.json"


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """One data set: its files, and what its description says about reading them."""

    name: str
    files: tuple[Path, ...]
    formatting: str | None = None
    columns: Mapping[str, str | None] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    ranking: bool = False
    num_samples: int | None = None
    split: str = "train"


def find_sets(names: Sequence[str], dataset_dir: str | Mapping[str, Any], *, key: str) -> list[DataSet]:
    """Find all data sets that `key` names, or refuse with everything that is wrong with them."""
    info = _Info.load(dataset_dir)
    problems: list[Problem] = []
    found: list[DataSet] = []
    for name in names:
        try:
            found.append(info.find(name, key))
        except TunesmithError as error:
            problems.extend(error.problems)
    if problems:
        raise TunesmithError(problems)
    return found


@dataclass(frozen=True, kw_only=True)
class _Info:
    """The descriptions at hand, and the folder that their paths are relative to."""

    folder: Path
    file: str | None
    entries: Mapping[str, Any] | None

    @classmethod
    def load(cls, dataset_dir: str | Mapping[str, Any]) -> "_Info":
        if not isinstance(dataset_dir, str):
            return cls(folder=Path(), file=None, entries=dataset_dir)
        if dataset_dir == "ONLINE" or dataset_dir.startswith("REMOTE:"):
            raise TunesmithError([hub_problem(f"dataset_dir: {dataset_dir}", Where(key="dataset_dir"))])
        folder = Path(dataset_dir)
        path = folder / INFO_NAME
        return cls(folder=folder, file=path.as_posix(), entries=read_info(path) if path.is_file() else None)

    def find(self, name: str, key: str) -> DataSet:
        if self.entries is not None and name in self.entries:
            return self._described(name, self.entries[name])
        for path in (Path(name), self.folder / name):
            if path.exists():
                return DataSet(name=name, files=_files_of(path, name))
        raise self._unknown(name, key)

    def _unknown(self, name: str, key: str) -> TunesmithError:
        known = sorted(self.entries or {})
        if file_type(Path(name)) in readers.names() or "/" in name or "\\" in name:
            return refusal(
                "data.file_missing",
                f"The data file {name} does not exist, neither here nor in {self.folder.as_posix()}.",
                f"Correct the path.{nearest(name, known)}",
                key=key,
                dataset=name,
            )
        if self.entries is None:
            return refusal(
                "data.info_missing",
                f"The data set {name!r} cannot be looked up: {self.file} does not exist.",
                f"Set dataset_dir to the folder that holds {INFO_NAME}, or name a data file by its path.",
                key="dataset_dir",
                dataset=name,
            )
        return refusal(
            "data.set_unknown",
            f"There is no data set named {name!r} in {self.file or 'dataset_dir'}.",
            f"Choose one of: {', '.join(known) or 'none is described'}; or name a data file by its path."
            + nearest(name, known),
            key=key,
            dataset=name,
            file=self.file,
        )

    def _described(self, name: str, entry: Any) -> DataSet:
        check_entry(name, entry, self.file)
        path = self.folder / entry["file_name"]
        if not path.exists():
            raise refusal(
                "data.file_missing",
                f"The file of data set {name!r} does not exist: {path.as_posix()}.",
                "Correct file_name; it is relative to dataset_dir.",
                file=self.file,
                dataset=name,
            )
        return DataSet(
            name=name,
            files=_files_of(path, name),
            formatting=entry.get("formatting"),
            columns=entry.get("columns") or {},
            tags={tag: word for tag, word in (entry.get("tags") or {}).items() if word is not None},
            ranking=bool(entry.get("ranking", False)),
            num_samples=entry.get("num_samples"),
            split=entry.get("split") or "train",
        )


def _files_of(path: Path, name: str) -> tuple[Path, ...]:
    """Give a file itself, or the data files of a folder in order of name; they must be of one type."""
    if path.is_file():
        readers.get(file_type(path))
        return (path,)
    files = sorted(file for file in path.iterdir() if file_type(file) in readers.names())
    files = [file for file in files if file.name != INFO_NAME]
    types = sorted({file_type(file) for file in files})
    if len(types) != 1:
        found = f"data files of several types ({', '.join(types)})" if types else "no data files"
        raise refusal(
            "data.folder_unreadable",
            f"The folder {path.as_posix()} holds {found}.",
            f"Keep files of one type in it: {', '.join(readers.names())}."
            + (f" To use its {INFO_NAME}, set dataset_dir." if (path / INFO_NAME).is_file() else ""),
            dataset=name,
        )
    return tuple(files)
