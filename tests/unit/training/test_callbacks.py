# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What a run writes while it trains: the log with LLaMA-Factory's fields, the progress line, and how Ctrl-C arrives."""

import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.unit.training.batches import make_store
from tests.unit.training.runs import TinyRun
from tests.unit.training.test_trainer import Kill
from tunesmith.training.callbacks import progress_line
from tunesmith.training.callbacks.flow import LogEnds
from tunesmith.training.callbacks.log_file import LOG_FILE, LogFile, lines_up_to
from tunesmith.training.callbacks.progress_line import ProgressLine
from tunesmith.training.interrupt import InterruptFlag

KEYS = {
    "logging_steps": 2,
    "eval_strategy": "steps",
    "eval_steps": 6,
    "save_strategy": "steps",
    "save_steps": 4,
    "compute_accuracy": True,
}


def run(folder: Path, *callbacks: Any, resume: str | None = None) -> list[dict[str, Any]]:
    trainer = TinyRun(
        folder=folder, keys=KEYS, evals={"eval": make_store([8, 9], seed=4)}, callbacks=callbacks
    ).trainer()
    folder.mkdir(exist_ok=True)
    trainer.add_callback(LogFile(trainer, folder))
    with contextlib.suppress(KeyboardInterrupt):
        trainer.train(resume_from_checkpoint=resume)
    return [json.loads(line) for line in (folder / LOG_FILE).read_text(encoding="utf-8").splitlines()]


def test_the_log_has_llamafactorys_fields(tmp_path: Path) -> None:
    entries = run(tmp_path)
    training = [entry for entry in entries if "loss" in entry]
    evaluations = [entry for entry in entries if "eval_loss" in entry]
    assert [entry["current_steps"] for entry in training] == [2, 4, 6, 8, 10, 12]
    assert [entry["current_steps"] for entry in evaluations] == [6, 12]
    theirs = {"current_steps", "total_steps", "loss", "lr", "epoch", "percentage", "elapsed_time", "remaining_time"}
    assert theirs | {"throughput", "total_tokens", "supervised_tokens", "grad_norm"} <= set(training[-1])
    last = training[-1]
    assert (last["total_steps"], last["percentage"], last["remaining_time"]) == (12, 100.0, "0:00:00")
    assert {"eval_loss", "eval_accuracy", "eval_perplexity"} <= set(evaluations[-1])


def test_a_resumed_log_has_no_step_twice(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    run(tmp_path / "killed", Kill(7))
    resumed = run(tmp_path / "killed", resume=str(tmp_path / "killed" / "checkpoint-4"))
    compared = ("current_steps", "loss", "eval_loss", "total_tokens", "supervised_tokens", "lr")
    rows = [[{name: entry.get(name) for name in compared} for entry in log] for log in (whole, resumed)]
    assert rows[0] == rows[1]


def test_a_line_cut_off_by_a_kill_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / LOG_FILE
    path.write_text('{"current_steps": 1}\n{"current_steps": 9}\n{"current_st', encoding="utf-8")
    assert lines_up_to(path, 5) == ['{"current_steps": 1}\n']
    assert lines_up_to(path, 0) == lines_up_to(tmp_path / "absent", 5) == []


def test_the_progress_line_tells_loss_speed_tokens_and_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_line, "_FIRST_SECONDS", 0.0)
    monkeypatch.setattr(progress_line, "_LEAST_SECONDS_LEFT", 0.0)
    trainer = TinyRun(folder=tmp_path, keys=KEYS, evals={"eval": make_store([8, 9], seed=4)}).trainer()
    trainer.add_callback(ProgressLine(trainer))
    trainer.train()
    output = capsys.readouterr()
    assert output.out == "", "stdout belongs to results"
    assert "training 12/12" in output.err and "tokens/s" in output.err and "supervised tokens" in output.err
    assert output.err.count("Expected end: ") == 1
    assert "step 6: eval_loss" in output.err


def test_the_first_signal_sets_a_flag_and_the_second_interrupts(capsys: pytest.CaptureFixture[str]) -> None:
    flag = InterruptFlag()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), flag.listen():
        os.kill(os.getpid(), signal.SIGINT)
        assert flag.is_set
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    assert "once more ends at once" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("keys", "steps"),
    [
        ({"logging_steps": 500}, [1, 12]),
        ({"logging_steps": 5}, [5, 10, 12]),
        ({"logging_steps": 500, "max_steps": 1}, [1]),
        ({"logging_strategy": "no"}, []),
    ],
)
def test_both_ends_of_a_run_are_logged(keys: dict[str, Any], steps: list[int], tmp_path: Path) -> None:
    trainer = TinyRun(folder=tmp_path, keys=keys, callbacks=[LogEnds()]).trainer()
    trainer.train()
    assert [entry["step"] for entry in trainer.state.log_history if "loss" in entry] == steps


def test_an_end_that_is_near_is_not_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_line, "_FIRST_SECONDS", 0.0)
    trainer = TinyRun(folder=tmp_path).trainer()
    trainer.add_callback(ProgressLine(trainer))
    trainer.train()
    assert "Expected end" not in capsys.readouterr().err
