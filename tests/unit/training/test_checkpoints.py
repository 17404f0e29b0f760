# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints are whole or absent, verified, ordered by step, and rotated without losing the newest and the best."""

import errno
from pathlib import Path

import pytest
from safetensors import SafetensorError

from tunesmith.core.errors import TunesmithError
from tunesmith.training.checkpoints import (
    Checkpoints,
    clear_leftovers,
    find_fault,
    list_checkpoints,
    newest_intact,
    read_manifest,
    refuse_full_disk,
    remove_folder,
    set_aside,
)
from tunesmith.training.record import RunRecord

RECORD = RunRecord(config={"seed": 1}, config_text="seed: 1\n", fingerprints={}, choices={}, versions={})


def checkpoints_in(folder: Path, keep: int | None = None) -> Checkpoints:
    return Checkpoints(folder=folder, record=RECORD, keep=keep)


def write(checkpoints: Checkpoints, *steps: int) -> None:
    for step in steps:
        with checkpoints.write(step, {"epoch": 0.5}) as folder:
            (folder / "weights.bin").write_bytes(bytes([step % 256]) * 100)
            (folder / "sub").mkdir()
            (folder / "sub" / "more.json").write_text("{}", encoding="utf-8")


def steps_in(folder: Path) -> list[int]:
    return [step for step, _ in list_checkpoints(folder)]


def test_a_checkpoint_describes_and_verifies_itself(tmp_path: Path) -> None:
    write(checkpoints_in(tmp_path), 3)
    manifest = read_manifest(tmp_path / "checkpoint-3")
    assert (manifest.step, manifest.progress, manifest.record["config"]) == (3, {"epoch": 0.5}, {"seed": 1})
    assert set(manifest.files) == {"weights.bin", "sub/more.json", "tunesmith.yaml"}
    assert find_fault(tmp_path / "checkpoint-3") is None


def test_a_failed_save_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), checkpoints_in(tmp_path).write(1, {}) as folder:
        (folder / "weights.bin").write_bytes(b"x")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_damage_is_found_and_the_newest_intact_one_is_taken(tmp_path: Path) -> None:
    write(checkpoints_in(tmp_path), 900, 1000, 1100, 1200)
    (tmp_path / "checkpoint-1200" / "weights.bin").write_bytes(b"y" * 100)
    (tmp_path / "checkpoint-1100" / "sub" / "more.json").unlink()
    found, broken = newest_intact(tmp_path)
    assert found == tmp_path / "checkpoint-1000"
    assert [(path.name, fault) for path, fault in broken] == [
        ("checkpoint-1200", "weights.bin is not what was written (its hash differs)"),
        ("checkpoint-1100", "sub/more.json is missing"),
    ]


def test_a_folder_without_manifest_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-7").mkdir()
    assert newest_intact(tmp_path)[0] is None
    with pytest.raises(TunesmithError, match=r"checkpoint\.manifest_invalid"):
        read_manifest(tmp_path / "checkpoint-7")


def test_order_is_by_step_not_by_name(tmp_path: Path) -> None:
    write(checkpoints_in(tmp_path), 1000, 900, 20)
    assert steps_in(tmp_path) == [20, 900, 1000]


@pytest.mark.parametrize(
    ("keep", "best", "left"),
    [(None, None, [1, 2, 3, 4]), (2, None, [3, 4]), (2, 1, [1, 4]), (1, 2, [2, 4]), (1, 4, [4]), (9, 1, [1, 2, 3, 4])],
)
def test_rotation_keeps_the_newest_and_the_best(
    keep: int | None, best: int | None, left: list[int], tmp_path: Path
) -> None:
    checkpoints = checkpoints_in(tmp_path, keep)
    write(checkpoints, 1, 2, 3, 4)
    checkpoints.rotate(best_step=best)
    assert steps_in(tmp_path) == left


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    checkpoints = checkpoints_in(tmp_path)
    write(checkpoints, 5)
    with checkpoints.write(5, {"epoch": 0.75}) as folder:
        (folder / "weights.bin").write_bytes(b"new")
    assert read_manifest(tmp_path / "checkpoint-5").progress == {"epoch": 0.75}
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-5"]


def test_leftovers_of_a_kill_are_no_checkpoints_and_are_cleared(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint-9.partial-abc").mkdir()
    (tmp_path / ".checkpoint-8.partial-removed").mkdir()
    assert steps_in(tmp_path) == []
    clear_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_setting_aside_counts_up(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / "run").mkdir()
        assert set_aside(tmp_path / "run", "old") == tmp_path / f"run.old-{number}"
    remove_folder(tmp_path / "run.old-1")
    assert [path.name for path in tmp_path.iterdir()] == ["run.old-2"]


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: No space left (os error 28)")],
)
def test_a_full_disk_is_refused_and_leaves_nothing(error: Exception, tmp_path: Path) -> None:
    with (
        pytest.raises(TunesmithError, match=r"resources\.disk_full") as caught,
        checkpoints_in(tmp_path).write(1, {}) as folder,
    ):
        (folder / "weights.bin").write_bytes(b"half")
        raise error
    assert caught.value.exit_code == 5
    assert list(tmp_path.iterdir()) == []


def test_other_errors_pass_through_unchanged() -> None:
    with pytest.raises(PermissionError), refuse_full_disk(Path("x")):
        raise PermissionError("no")
