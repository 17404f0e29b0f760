# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Files in a cloud are fetched once a version; without the cloud's package or the file the end is clear."""

import io
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest

from tunesmith.core.errors import Problem, TunesmithError
from tunesmith.data.sources import cloud
from tunesmith.data.sources.cloud import fetch_cloud_file

URL = "s3://bucket/rows.jsonl"


class FakeCloud:
    """Files in memory, under their addresses; `private` ones ask for credentials."""

    def __init__(self, *, private: bool = False) -> None:
        self.files: dict[str, bytes] = {}
        self.opened = 0
        self._private = private

    def url_to_fs(self, url: str, **options: Any) -> tuple["FakeCloud", str]:
        if self._private and options:
            raise PermissionError("Access Denied")
        return self, url

    def info(self, path: str) -> dict[str, Any]:
        if path not in self.files:
            raise FileNotFoundError(path)
        return {"size": len(self.files[path]), "ETag": str(hash(self.files[path]))}

    def open(self, path: str, mode: str) -> BinaryIO:
        assert mode == "rb"
        self.opened += 1
        return io.BytesIO(self.files[path])


def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: FakeCloud) -> FakeCloud:
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path))
    monkeypatch.setattr(cloud, "import_by_name", lambda _: SimpleNamespace(core=files))
    return files


def refused(url: str) -> Problem:
    with pytest.raises(TunesmithError) as caught:
        fetch_cloud_file(url)
    return caught.value.problems[0]


@pytest.mark.parametrize("private", [False, True])
def test_a_file_is_fetched_once_a_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, private: bool) -> None:
    files = place(monkeypatch, tmp_path, FakeCloud(private=private))
    files.files[URL] = b"first"
    assert fetch_cloud_file(URL).name == "rows.jsonl" and fetch_cloud_file(URL).read_bytes() == b"first"
    assert files.opened == 1
    files.files[URL] = b"second"
    assert fetch_cloud_file(URL).read_bytes() == b"second"


def test_a_file_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place(monkeypatch, tmp_path, FakeCloud(private=True))
    problem = refused(URL)
    assert problem.code == "data.cloud_unreachable"
    assert "Access Denied" in problem.message and problem.message.count(URL) == 2


@pytest.mark.parametrize("url", ["https://example.org/a.jsonl", "file:///etc/hostname.json", "rows.jsonl"])
def test_other_addresses_are_not_opened(url: str) -> None:
    assert refused(url).code == "data.cloud_unreachable"


@pytest.mark.skipif(find_spec("gcsfs") is not None, reason="gcsfs is installed")
def test_the_package_of_the_cloud_is_named() -> None:
    problem = refused("gs://bucket/a.jsonl")
    assert problem.code == "environment.package_missing" and "gcsfs" in problem.remedy
