# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets on hubs: the files of a split, nothing outside of the set, no scripts, and a clear end without a network.

The hub is a small fake; folders that are copies of a hub's sets are read by `datasets` itself.
"""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets.exceptions
import httpx2
import huggingface_hub
import pytest

from tunesmith.core.errors import Problem, TunesmithError
from tunesmith.data.sources import hub
from tunesmith.data.sources.hub import HubSet, fetch_files, fetch_info, split_files

BASE = "hf://datasets/org/set@abc123"


class Builder:
    """What `datasets` builds for a layout of JSON files."""

    def __init__(self, files: Mapping[str, list[str]]) -> None:
        self.config = SimpleNamespace(data_files=files)


Builder.__module__ = "datasets.packaged_modules.json.json"


class PickleBuilder(Builder):
    """What `datasets` builds for pickled tables."""


PickleBuilder.__module__ = "datasets.packaged_modules.pandas.pandas"


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[Any]]:
    """Put a fake hub in place whose builder is given or raises; the list tells what was asked of it."""

    def place(outcome: Builder | Exception) -> list[Any]:
        asked: list[Any] = []

        def build(path: str, *, name: str | None, data_dir: str | None) -> Builder:
            asked.append((path, name, data_dir))
            if isinstance(outcome, Exception) and not path.startswith(str(tmp_path)):
                raise outcome
            return outcome if isinstance(outcome, Builder) else Builder({"train": [str(tmp_path / "old.jsonl")]})

        def download(repo: str, path: str, *, repo_type: str, revision: str = "") -> str:
            asked.append((repo, path, repo_type, revision))
            return str(tmp_path / path)

        modules = {
            "datasets": SimpleNamespace(load_dataset_builder=build, get_dataset_config_names=lambda _: ["a", "b"]),
            "datasets.exceptions": datasets.exceptions,
            "huggingface_hub": SimpleNamespace(
                hf_hub_download=download,
                snapshot_download=lambda *_, **__: str(tmp_path),
                get_session=lambda: SimpleNamespace(head=lambda *_, **__: None),
                constants=SimpleNamespace(ENDPOINT="https://hub.invalid"),
            ),
            "httpx2": httpx2,
        }
        monkeypatch.setattr(hub, "import_by_name", modules.__getitem__)
        fetch_files.cache_clear()
        hub._why_unreachable.cache_clear()
        return asked

    return place


def refused(hub_set: HubSet) -> Problem:
    with pytest.raises(TunesmithError) as caught:
        fetch_files(hub_set)
    (problem,) = caught.value.problems
    return problem


def test_the_files_of_a_split_are_fetched_at_one_revision(online: Callable[..., list[Any]], tmp_path: Path) -> None:
    asked = online(Builder({"train": [f"{BASE}/d/1.jsonl", f"{BASE}/d/2.jsonl"], "test": [f"{BASE}/d/t.jsonl"]}))
    assert fetch_files(HubSet(hub="hf", repo="org/set", subset="en", folder="d")) == (
        tmp_path / "d/1.jsonl",
        tmp_path / "d/2.jsonl",
    )
    assert asked[0] == ("org/set", "en", "d")
    assert asked[1] == ("org/set", "d/1.jsonl", "dataset", "abc123")
    assert fetch_files(HubSet(hub="hf", repo="org/set", split="test")) == (tmp_path / "d/t.jsonl",)
    problem = refused(HubSet(hub="hf", repo="org/set", split="tset"))
    assert problem.code == "data.hub_set_invalid" and "Did you mean 'test'" in problem.remedy


def test_several_subsets_and_all_of_them(online: Callable[..., list[Any]]) -> None:
    asked = online(Builder({"train": [f"{BASE}/1.jsonl"]}))
    fetch_files(HubSet(hub="hf", repo="org/set", subset="x/y"))
    fetch_files(HubSet(hub="hf", repo="org/set", subset="all"))
    assert [name for _, name, _ in (entry for entry in asked if len(entry) == 3)] == ["x", "y", "a", "b"]


@pytest.mark.parametrize(
    ("outcome", "code", "word"),
    [
        (PickleBuilder({"train": [f"{BASE}/1.pkl"]}), "data.hub_set_unreadable", "'pandas'"),
        (Builder({"train": [f"{BASE}/1.jsonl.zst"]}), "data.hub_set_unreadable", "1.jsonl.zst"),
        (Builder({"train": ["https://elsewhere.org/1.jsonl"]}), "data.hub_set_unreadable", "elsewhere"),
        (Builder({"train": ["hf://datasets/other/set@main/1.jsonl"]}), "data.hub_set_unreadable", "outside"),
        (RuntimeError("Dataset scripts are no longer supported"), "data.script_refused", "foreign code"),
        (datasets.exceptions.DatasetNotFoundError("no such set"), "data.hub_set_missing", "org/set"),
        (ValueError("BuilderConfig 'x' not found."), "data.hub_set_invalid", "'x'"),
        (OSError("disk full"), "data.hub_unreachable", "disk full"),
    ],
)
def test_what_cannot_or_must_not_be_read_is_refused(
    online: Callable[..., list[Any]], outcome: Builder | Exception, code: str, word: str
) -> None:
    asked = online(outcome)
    problem = refused(HubSet(hub="hf", repo="org/set"))
    assert problem.code == code and word in problem.message
    assert len(asked) == 1  # Nothing was downloaded.


def test_without_a_network_the_files_of_an_earlier_run_are_taken(
    online: Callable[..., list[Any]], tmp_path: Path
) -> None:
    online(ConnectionError("offline"))
    assert fetch_files(HubSet(hub="hf", repo="org/set")) == (tmp_path / "old.jsonl",)


def test_without_a_network_and_an_earlier_run_it_ends_clearly_and_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        asked.append(time.monotonic())
        raise httpx2.ConnectError("no such name")

    asked: list[float] = []
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: SimpleNamespace(head=fail))
    monkeypatch.setattr(hub, "_SIGN_WAITS_SECONDS", (0.0, 0.01))
    fetch_files.cache_clear()
    hub._why_unreachable.cache_clear()
    started = time.monotonic()
    problem = refused(HubSet(hub="hf", repo="org/never-fetched"))
    assert (problem.code, problem.exit_code.name) == ("data.hub_unreachable", "ENVIRONMENT")
    assert "no such name" in problem.message and "local_files_only" not in problem.message
    assert len(asked) == 2 and time.monotonic() - started < 5
    with pytest.raises(TunesmithError) as caught:
        fetch_info("org/never-fetched")
    assert caught.value.problems[0].code == "data.hub_unreachable"
    assert len(asked) == 2  # The answer holds for a while.
    hub._why_unreachable.cache_clear()


def test_modelscope_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    fetch_files.cache_clear()
    monkeypatch.setitem(sys.modules, "modelscope", None)
    assert refused(HubSet(hub="ms", repo="AI/set")).code == "environment.package_missing"


def write_copy(folder: Path) -> Path:
    """Write a folder as a hub holds it: two subsets, described in README.md."""
    for name in ("en/train", "en/test", "zh/train"):
        path = folder / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"text": "a"}\n', encoding="utf-8")
    configs = "".join(f"- config_name: {name}\n  data_dir: {name}\n" for name in ("en", "zh"))
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n", encoding="utf-8")
    return folder


def test_a_copy_of_a_hubs_set_has_its_subsets_and_splits(tmp_path: Path) -> None:
    folder = write_copy(tmp_path / "copy")
    copy = HubSet(hub="hf", repo="copy", subset="en")
    assert split_files(folder, copy) == (folder / "en/train.jsonl",)
    both = HubSet(hub="hf", repo="copy", subset="all")
    assert split_files(folder, both) == (folder / "en/train.jsonl", folder / "zh/train.jsonl")
    with pytest.raises(TunesmithError) as caught:
        split_files(folder, HubSet(hub="hf", repo="copy", subset="fr"))
    assert caught.value.problems[0].code == "data.hub_set_invalid"


def test_a_copy_that_names_files_outside_of_itself_is_refused(tmp_path: Path) -> None:
    folder = write_copy(tmp_path / "copy")
    (tmp_path / "secret.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    readme = f"---\nconfigs:\n- config_name: en\n  data_files: {(tmp_path / 'secret.jsonl').as_posix()}\n---\n"
    (folder / "README.md").write_text(readme, encoding="utf-8")
    with pytest.raises(TunesmithError) as caught:
        split_files(folder, HubSet(hub="hf", repo="copy", subset="en"))
    assert caught.value.problems[0].code == "data.hub_set_unreadable"
