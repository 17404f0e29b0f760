# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets on Hugging Face's and ModelScope's hubs: which files make a subset and split, fetched as they are.

`datasets` only says which files belong to a split; our own readers read them. No script of a data set is ever run, and
no type of file is fetched that we do not read.
"""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tunesmith.core.errors import TunesmithError, refusal
from tunesmith.core.hubs import HUB_NAMES, Hub
from tunesmith.core.names import nearest
from tunesmith.core.optional import import_by_name, import_optional
from tunesmith.core.progress import say
from tunesmith.data.sources.base import file_type, readers

ALL_SUBSETS = "all"
_SIGN_WAITS_SECONDS = (0.0, 1.0)
_SIGN_TIMEOUT_SECONDS = 3.0
_SIGN_LASTS_SECONDS = 60.0
_BUILDERS = re.compile(r"datasets\.packaged_modules\.(json|csv|text|parquet|arrow)\.\w+")
_FILE_ON_HUB = re.compile(r"hf://datasets/(?P<repo>[^@/]+/[^@/]+|[^@/]+)@(?P<revision>[^/]+)/(?P<path>.+)")


@dataclass(frozen=True, kw_only=True)
class HubSet:
    """A data set on a hub: its id, the subset (or several as a/b, or `all`), the split, and a folder inside it."""

    hub: Hub
    repo: str
    subset: str | None = None
    split: str = "train"
    folder: str | None = None


@cache
def fetch_files(hub_set: HubSet) -> tuple[Path, ...]:
    """Fetch the files of a data set, or take them from the hub's own cache, in order."""
    say(f"{hub_set.repo}: looked up on {HUB_NAMES[hub_set.hub]}")
    if hub_set.hub == "ms":
        return split_files(_fetch_from_modelscope(hub_set), hub_set)
    with _coded_errors(hub_set):
        try:
            _ask_for_a_sign()
            urls = _urls_of(hub_set.repo, hub_set)
        except ConnectionError as error:
            return split_files(_cached_snapshot(hub_set, error), hub_set)
        return tuple(_fetch_file(hub_set, url) for url in urls)


def split_files(folder: Path, hub_set: HubSet) -> tuple[Path, ...]:
    """Give the files of a split in a folder that holds a data set as a hub does."""
    with _coded_errors(hub_set):
        paths = [Path(url) for url in _urls_of(str(folder), hub_set)]
    strange = [path for path in paths if not path.is_absolute() or not path.is_relative_to(folder.absolute())]
    if strange:
        raise _unreadable(hub_set, f"it names a file outside of itself: {strange[0].as_posix()}")
    return tuple(paths)


def fetch_info(repo: str) -> Path:
    """Fetch dataset_info.json of a data set repository on Hugging Face (LLaMA-Factory's `dataset_dir: REMOTE:id`)."""
    with _coded_errors(HubSet(hub="hf", repo=repo)):
        hub: Any = import_by_name("huggingface_hub")
        try:
            _ask_for_a_sign()
        except ConnectionError as error:
            return _cached_snapshot(HubSet(hub="hf", repo=repo), error) / "dataset_info.json"
        return Path(hub.hf_hub_download(repo, "dataset_info.json", repo_type="dataset"))


def _urls_of(path: str, hub_set: HubSet) -> list[str]:
    """Name the files of all subsets asked for: their addresses, or their paths in a folder."""
    datasets: Any = import_by_name("datasets")
    subsets: Sequence[str | None] = hub_set.subset.split("/") if hub_set.subset else [None]
    if hub_set.subset == ALL_SUBSETS:
        subsets = datasets.get_dataset_config_names(path)
    found: list[str] = []
    for subset in subsets:
        builder = datasets.load_dataset_builder(path, name=subset, data_dir=hub_set.folder)
        found.extend(_split_of(builder, hub_set))
    return list(dict.fromkeys(found))


def _split_of(builder: Any, hub_set: HubSet) -> list[str]:
    if not _BUILDERS.fullmatch(type(builder).__module__):
        layout = type(builder).__module__.rpartition(".")[2]
        raise _unreadable(hub_set, f"it is laid out as {layout!r}")
    splits = {str(name): [str(url) for url in urls] for name, urls in (builder.config.data_files or {}).items()}
    if hub_set.split not in splits:
        raise refusal(
            "data.hub_set_invalid",
            f"{hub_set.repo} has no split {hub_set.split!r}.",
            f"Write one of these as split of an entry in dataset_info.json: {', '.join(splits) or 'none'}."
            + nearest(hub_set.split, splits),
            dataset=hub_set.repo,
        )
    urls = splits[hub_set.split]
    odd = next((url for url in urls if file_type(Path(url)) not in readers.names()), None)
    if odd is not None:
        raise _unreadable(hub_set, f"it has a file of a type that is not read: {odd}")
    return urls


def _fetch_file(hub_set: HubSet, url: str) -> Path:
    match = _FILE_ON_HUB.fullmatch(url)
    if match is None or match["repo"] != hub_set.repo:
        raise _unreadable(hub_set, f"it names a file outside of itself: {url}")
    hub: Any = import_by_name("huggingface_hub")
    return Path(hub.hf_hub_download(hub_set.repo, match["path"], repo_type="dataset", revision=match["revision"]))


def _ask_for_a_sign() -> None:
    """Raise ConnectionError where the hub does not answer: libraries would try each file for 23 s."""
    reason = _why_unreachable(int(time.monotonic() / _SIGN_LASTS_SECONDS))
    if reason is not None:
        raise ConnectionError(reason)


@cache
def _why_unreachable(minute: int) -> str | None:
    """Ask the hub for any answer, and once more after a second; an answer holds for a minute."""
    hub: Any = import_by_name("huggingface_hub")
    errors: Any = import_by_name("httpx2")
    reason = ""
    for wait in _SIGN_WAITS_SECONDS:
        time.sleep(wait)
        try:
            hub.get_session().head(hub.constants.ENDPOINT, timeout=_SIGN_TIMEOUT_SECONDS)
            return None
        except (OSError, errors.TransportError) as error:  # OSError: HF_HUB_OFFLINE
            reason = f"{hub.constants.ENDPOINT} gives no answer ({error})"
    return reason


def _cached_snapshot(hub_set: HubSet, reason: Exception) -> Path:
    """Find what an earlier run has fetched, when the hub cannot be reached."""
    hub: Any = import_by_name("huggingface_hub")
    try:
        folder = Path(hub.snapshot_download(hub_set.repo, repo_type="dataset", local_files_only=True))
    except OSError as error:
        raise _unreachable(hub_set, reason) from error
    say(f"{hub_set.repo}: the hub cannot be reached; the files of an earlier run are taken")
    return folder


def _fetch_from_modelscope(hub_set: HubSet) -> Path:
    modelscope: Any = import_optional("modelscope", extra="modelscope", needed_for=f"The data set MS::{hub_set.repo}")
    errors: Any = import_by_name("modelscope.hub.errors")
    inside = f"{hub_set.folder.strip('/')}/" if hub_set.folder else ""
    patterns = ["README.md", *(f"{inside}*.{name}" for name in readers.names())]
    try:
        return Path(modelscope.dataset_snapshot_download(hub_set.repo, allow_patterns=patterns))
    except (OSError, errors.HubError) as error:
        raise _unreachable(hub_set, error) from error


@contextmanager
def _coded_errors(hub_set: HubSet) -> Iterator[None]:
    """Turn what `datasets` and `huggingface_hub` raise into coded errors."""
    exceptions: Any = import_by_name("datasets.exceptions")
    try:
        yield
    except exceptions.DatasetNotFoundError as error:
        raise refusal(
            "data.hub_set_missing",
            f"There is no data set {hub_set.repo!r} on {HUB_NAMES[hub_set.hub]} that may be read: {error}.",
            "Correct the id; a private or gated data set needs a token (HF_TOKEN) of an account with access.",
            dataset=hub_set.repo,
        ) from error
    except exceptions.DatasetsError as error:
        raise _unreadable(hub_set, str(error)) from error
    except RuntimeError as error:
        if "script" not in str(error):
            raise
        raise script_refused(hub_set.repo, str(error)) from error
    except ValueError as error:
        raise refusal(
            "data.hub_set_invalid",
            f"{hub_set.repo} cannot be read as asked for: {error}",
            "Correct subset, split or folder.",
            dataset=hub_set.repo,
        ) from error
    except OSError as error:
        raise _unreachable(hub_set, error) from error


def script_refused(name: str, what: str) -> TunesmithError:
    """Refuse a data set that is made by a script: running it would run foreign code."""
    return refusal(
        "data.script_refused",
        f"The data set {name} is made by a script, and foreign code is never run to read data: {what}",
        "Run the script yourself where you trust it, save its rows as JSON lines or parquet, and name that file.",
        dataset=name,
    )


def _unreachable(hub_set: HubSet, error: Exception) -> TunesmithError:
    return refusal(
        "data.hub_unreachable",
        f"{HUB_NAMES[hub_set.hub]} cannot be reached for the data set {hub_set.repo!r}, and no earlier run has fetched "
        f"it: {error}",
        "Check the network, or download the data and name its file or folder.",
        dataset=hub_set.repo,
    )


def _unreadable(hub_set: HubSet, reason: str) -> TunesmithError:
    return refusal(
        "data.hub_set_unreadable",
        f"{hub_set.repo} cannot be read: {reason}.",
        f"Files of these types are read: {', '.join(readers.names())}. Download the data and convert it.",
        dataset=hub_set.repo,
    )
