# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets by name: entries of dataset_info.json, paths of files and folders, ids on hubs, or inline descriptions.

It finds files (and has those of hubs and clouds fetched) and says how they are described; of local ones it opens only
dataset_info.json.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunesmith.core.errors import Problem, TunesmithError, Where, refusal
from tunesmith.core.hubs import default_hub, refuse_other_hubs
from tunesmith.core.names import nearest
from tunesmith.data.formats.base import formats
from tunesmith.data.set_entry import LOCAL_SPLITS, check_entry, entry_source, invalid_entry, read_info, split_parts
from tunesmith.data.set_files import INFO_NAME, files_of, files_of_subset, is_copy_of_hub
from tunesmith.data.set_name import SetName, read_set_name
from tunesmith.data.sources.base import file_type, readers
from tunesmith.data.sources.cloud import fetch_cloud_file
from tunesmith.data.sources.hub import HubSet, fetch_files, fetch_info, split_files

_REMOTE = "REMOTE:"


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """One data set: its files, and what its description says about reading them.

    `num_samples` rows are drawn at random; where the set has fewer, all are taken and the rest drawn once more.
    """

    name: str
    files: tuple[Path, ...]
    formatting: str | None = None
    columns: Mapping[str, str | None] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    ranking: bool = False
    num_samples: int | None = None
    split: str = "train"


def find_sets(
    names: Sequence[str], dataset_dir: str | Mapping[str, Any], *, key: str, formatting: str | None = None
) -> list[DataSet]:
    """Find all data sets that `key` names, or refuse with everything that is wrong with them.

    `formatting` is the format of those that no entry describes; None recognises it.
    """
    if formatting is not None:
        formats.get(formatting)
    info = _Info.load(dataset_dir, formatting)
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
    """The descriptions at hand, and the folder that their paths are relative to.

    With `is_online` every name that no entry describes is an id on a hub.
    """

    folder: Path
    file: str | None
    entries: Mapping[str, Any] | None
    formatting: str | None
    is_online: bool = False

    @classmethod
    def load(cls, dataset_dir: str | Mapping[str, Any], formatting: str | None) -> "_Info":
        if not isinstance(dataset_dir, str):
            return cls(folder=Path(), file=None, entries=dataset_dir, formatting=formatting)
        if dataset_dir == "ONLINE":
            return cls(folder=Path(), file=None, entries=None, formatting=formatting, is_online=True)
        if dataset_dir.startswith(_REMOTE):
            path = fetch_info(dataset_dir.removeprefix(_REMOTE).strip())
            return cls(folder=path.parent, file=path.as_posix(), entries=read_info(path), formatting=formatting)
        folder = Path(dataset_dir)
        path = folder / INFO_NAME
        entries = read_info(path) if path.is_file() else None
        return cls(folder=folder, file=path.as_posix(), entries=entries, formatting=formatting)

    def find(self, name: str, key: str) -> DataSet:
        """Find a set by its whole name, or by the parts of the name."""
        found = None if self.is_online else self._at_hand(SetName(base=name), name, key)
        if found is not None:
            return found
        parts = read_set_name(name, key=key)
        if parts.hub is not None or self.is_online:
            return self._on_hub(parts, name)
        found = self._at_hand(parts, name, key)
        if found is None:
            raise self._unknown(parts.base, key)
        return found

    def _at_hand(self, parts: SetName, name: str, key: str) -> DataSet | None:
        """Find an entry or a path; a subset and a count in the name override the entry's."""
        if parts.hub is not None:
            return None
        if self.entries is not None and parts.base in self.entries:
            return self._described(parts, name, self.entries[parts.base])
        for path in (Path(parts.base), self.folder / parts.base):
            if path.exists():
                files = files_of_subset(path, parts.subset, key) if parts.subset else files_of(path, name)
                return DataSet(name=name, files=files, formatting=self.formatting, num_samples=parts.count)
        return None

    def _on_hub(self, parts: SetName, name: str) -> DataSet:
        if parts.hub is None:
            refuse_other_hubs(parts.base)
        hub_set = HubSet(hub=parts.hub or default_hub(), repo=parts.base, subset=parts.subset)
        return DataSet(name=name, files=fetch_files(hub_set), formatting=self.formatting, num_samples=parts.count)

    def _unknown(self, name: str, key: str) -> TunesmithError:
        known = sorted(self.entries or {})
        if file_type(Path(name)) in readers.names() or "/" in name or "\\" in name:
            return refusal(
                "data.file_missing",
                f"The data file {name} does not exist, neither here nor in {self.folder.as_posix()}.",
                f"Correct the path; ids on a hub are written HF::id or MS::id.{nearest(name, known)}",
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

    def _described(self, parts: SetName, name: str, entry: Any) -> DataSet:
        check_entry(parts.base, entry, self.file)
        split, rows = split_parts(entry.get("split") or "train")
        return DataSet(
            name=name,
            files=self._files_described(parts, entry, split),
            formatting=entry.get("formatting") or self.formatting,
            columns=entry.get("columns") or {},
            tags={tag: word for tag, word in (entry.get("tags") or {}).items() if word is not None},
            ranking=bool(entry.get("ranking", False)),
            num_samples=parts.count or entry.get("num_samples"),
            split=f"train{rows}",
        )

    def _files_described(self, parts: SetName, entry: Mapping[str, Any], split: str) -> tuple[Path, ...]:
        """Find or fetch the files of an entry, from the first source that it names in LLaMA-Factory's order."""
        source, where = entry_source(entry, prefers_modelscope=default_hub() == "ms")
        if source in ("hf_hub_url", "ms_hub_url"):
            hub_set = HubSet(
                hub="hf" if source == "hf_hub_url" else "ms",
                repo=where,
                subset=parts.subset or entry.get("subset"),
                split=split,
                folder=entry.get("folder"),
            )
            return fetch_files(hub_set)
        if source == "cloud_file_name":
            return files_of(fetch_cloud_file(where), parts.base)
        path = self.folder / where
        if not path.exists():
            raise refusal(
                "data.file_missing",
                f"The file of data set {parts.base!r} does not exist: {path.as_posix()}.",
                "Correct file_name; it is relative to dataset_dir.",
                file=self.file,
                dataset=parts.base,
            )
        if is_copy_of_hub(path):
            subset, folder = parts.subset or entry.get("subset"), entry.get("folder")
            return split_files(path, HubSet(hub="hf", repo=path.as_posix(), subset=subset, split=split, folder=folder))
        if split != "train":
            what = f"split is {split!r}; {LOCAL_SPLITS}."
            raise TunesmithError([invalid_entry(Where(file=self.file, dataset=parts.base), what)])
        return files_of_subset(path, parts.subset, parts.base) if parts.subset else files_of(path, parts.base)
