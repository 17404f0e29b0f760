# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""How a run begins in its folder: never into an earlier run without being asked, never losing one."""

from pathlib import Path

import pytest

from tests.unit.training.test_checkpoints import checkpoints_in, write
from tunesmith.core.errors import TunesmithError
from tunesmith.core.report import collected_warnings
from tunesmith.training.output_folder import Begin, decide_begin


def begin(folder: Path, *, resume: bool | str | None = None, overwrite: bool = False) -> Begin:
    decision = decide_begin(folder, resume=resume, overwrite=overwrite)
    decision.apply(lambda text: None)
    return decision


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("resume", [None, False, True])
def test_a_new_or_empty_folder_starts_fresh(resume: bool | None, tmp_path: Path) -> None:
    assert begin(tmp_path / "run", resume=resume).checkpoint is None
    assert (tmp_path / "run").is_dir()
    assert begin(tmp_path / "run", resume=resume).checkpoint is None
    codes = [problem.code for problem in collected_warnings()]
    assert codes == (["checkpoint.none_found"] if resume else [])


@pytest.mark.parametrize("resume", [None, False])
def test_an_earlier_run_is_refused_with_both_ways_out(resume: bool | None, tmp_path: Path) -> None:
    write(checkpoints_in(tmp_path), 2, 4)
    with pytest.raises(TunesmithError, match=r"output_not_empty.*up to step 4") as caught:
        begin(tmp_path, resume=resume)
    remedy = caught.value.problems[0].remedy
    assert "resume_from_checkpoint: true" in remedy and "overwrite_output_dir: true" in remedy
    assert caught.value.exit_code == 2


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").write_bytes(b"x")
    with pytest.raises(TunesmithError, match=r"output_not_empty.*thesis\.docx"):
        begin(tmp_path, resume=True)


def test_a_start_that_failed_before_its_first_checkpoint_is_no_earlier_run(tmp_path: Path) -> None:
    for name in ("trainer_log.jsonl", "tunesmith.yaml"):
        (tmp_path / name).write_text("", encoding="utf-8")
    (tmp_path / ".checkpoint-2.partial-x").mkdir()
    assert begin(tmp_path).checkpoint is None


def test_overwriting_moves_the_earlier_run_aside(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    write(checkpoints_in(folder), 2)
    begin(folder, overwrite=True)
    assert names_in(folder) == []
    assert names_in(tmp_path) == ["run", "run.old-1"]
    assert names_in(tmp_path / "run.old-1") == ["checkpoint-2"]


def test_true_continues_the_newest_intact_checkpoint(tmp_path: Path) -> None:
    write(checkpoints_in(tmp_path), 9, 10, 11)
    (tmp_path / "checkpoint-11" / "weights.bin").unlink()
    decision = begin(tmp_path, resume=True, overwrite=True)
    assert decision.checkpoint == tmp_path / "checkpoint-10"
    assert names_in(tmp_path) == ["checkpoint-10", "checkpoint-11.broken-1", "checkpoint-9"]


def test_a_named_checkpoint_leaves_later_ones_aside(tmp_path: Path) -> None:
    write(checkpoints_in(tmp_path), 2, 4, 6)
    decision = begin(tmp_path, resume=str(tmp_path / "checkpoint-2"))
    assert decision.checkpoint == tmp_path / "checkpoint-2"
    assert names_in(tmp_path) == ["checkpoint-2", "checkpoint-4.old-1", "checkpoint-6.old-1"]


def test_a_checkpoint_of_another_folder_can_be_named(tmp_path: Path) -> None:
    write(checkpoints_in(tmp_path / "old"), 2)
    assert begin(tmp_path / "new", resume=str(tmp_path / "old")).checkpoint == tmp_path / "old" / "checkpoint-2"
    assert names_in(tmp_path / "old") == ["checkpoint-2"]


def test_a_named_checkpoint_must_be_intact(tmp_path: Path) -> None:
    write(checkpoints_in(tmp_path), 2)
    (tmp_path / "checkpoint-2" / "weights.bin").write_bytes(b"short")
    with pytest.raises(TunesmithError, match=r"checkpoint\.files_damaged.*5 bytes instead of 100"):
        begin(tmp_path, resume=str(tmp_path / "checkpoint-2"))
    with pytest.raises(TunesmithError, match=r"checkpoint\.path_missing"):
        begin(tmp_path, resume=str(tmp_path / "checkpoint-3"))


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("", encoding="utf-8")
    with pytest.raises(TunesmithError, match="is a file"):
        begin(tmp_path / "run")
