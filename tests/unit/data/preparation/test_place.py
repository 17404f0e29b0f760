# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Shards lie where the user says or in a cache that stays within its limit, and ranks agree on who makes them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tunesmith.config.run import RunConfig
from tunesmith.core.report import collected_warnings
from tunesmith.data.preparation.place import engine_rules, prune, shard_folder

DAY = 86400.0


def shard(folder: Path, name: str, *, size: int, age: float, now: float) -> Path:
    path = folder / name[:2] / f"{name}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    path.with_suffix(".json").write_text("{}", encoding="utf-8")
    os.utime(path, (now - age, now - age))
    return path


def test_the_oldest_shards_go_first(tmp_path: Path) -> None:
    now = 1e9
    paths = [shard(tmp_path, f"{age:02}a", size=100, age=age * DAY, now=now) for age in (40, 30, 20, 2, 1)]
    leftover = tmp_path / "40" / ".40a.npy.x"
    leftover.write_bytes(b"half")
    os.utime(leftover, (now - 9 * DAY, now - 9 * DAY))
    assert prune(tmp_path, limit=300, now=now) == 2
    assert [path.exists() for path in paths] == [False, False, True, True, True] and not leftover.exists()
    assert not paths[0].with_suffix(".json").exists()
    assert prune(tmp_path, limit=0, now=now) == 1, "what was used this week stays"


def test_the_folder_is_the_users_choice(
    configure: Callable[..., RunConfig], tmp_path: Path, prepared_folder: Path
) -> None:
    assert shard_folder(configure(dataset="d")) == prepared_folder
    assert shard_folder(configure(dataset="d", tokenized_path=str(tmp_path / "mine"))) == tmp_path / "mine"
    assert (tmp_path / "mine").is_dir()


def test_a_cache_that_cannot_be_written_is_replaced_with_a_warning(
    configure: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setattr("tunesmith.data.preparation.place.user_cache", lambda: tmp_path / "file")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    assert shard_folder(configure(dataset="d")).is_relative_to(tmp_path / "temporary")
    assert [problem.code for problem in collected_warnings()] == ["data.cache_unwritable"]


@pytest.mark.parametrize(
    ("shared", "ranks", "waits"),
    [
        (False, {}, False),
        (False, {"RANK": "4", "LOCAL_RANK": "0"}, False),
        (False, {"RANK": "5", "LOCAL_RANK": "1"}, True),
        (True, {"RANK": "4", "LOCAL_RANK": "0"}, True),
        (True, {"RANK": "0", "LOCAL_RANK": "0"}, False),
    ],
)
def test_one_rank_prepares(
    configure: Callable[..., RunConfig],
    monkeypatch: pytest.MonkeyPatch,
    shared: bool,
    ranks: dict[str, str],
    waits: bool,
) -> None:
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ranks.items():
        monkeypatch.setenv(name, value)
    assert engine_rules(configure(dataset="d", data_shared_file_system=shared)).is_waiting is waits
