# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The forecast agrees with what the trainer then does."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.training.runs import LENGTHS, TinyRun
from tunesmith.jobs.forecast import Saving, counted, make_forecast, to_size
from tunesmith.training.checkpoints import list_checkpoints


@pytest.mark.parametrize(
    "keys",
    [
        {"save_strategy": "steps", "save_steps": 4},
        {"save_strategy": "steps", "save_steps": 0.25, "num_train_epochs": 1.5},
        {"save_strategy": "epoch", "gradient_accumulation_steps": 4},
        {"save_strategy": "steps", "save_steps": 2, "save_total_limit": 3, "max_steps": 9},
        {"save_strategy": "no", "per_device_train_batch_size": 5},
    ],
)
def test_steps_checkpoints_and_bytes(keys: dict[str, Any], tmp_path: Path) -> None:
    trainer = TinyRun(folder=tmp_path, keys=keys).trainer()
    store, keep = trainer.parts.train, trainer.parts.checkpoints.keep
    assert store is not None
    forecast = make_forecast(
        trainer.module, store, trainer.parts.plan, trainer.args, saving=Saving(keep=keep, side_bytes=0)
    )
    trainer.train()
    found = list_checkpoints(tmp_path)
    assert forecast.steps == trainer.state.global_step
    assert len(found) <= forecast.checkpoints <= len(found) + 1
    assert (forecast.rows, forecast.tokens, forecast.longest_row) == (24, sum(LENGTHS), max(LENGTHS))
    for _, folder in found:
        written = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
        assert forecast.bytes_of_checkpoint == pytest.approx(written, rel=0.1)


def test_lines_tell_everything(tmp_path: Path) -> None:
    trainer = TinyRun(folder=tmp_path).trainer()
    assert trainer.parts.train is not None
    forecast = make_forecast(trainer.module, trainer.parts.train, trainer.parts.plan, trainer.args, saving=Saving())
    text = "\n".join(forecast.lines())
    assert "24 rows" in text and "Steps: 12 (6 an epoch)" in text and "longest row 20" in text
    assert "Will write about 75 kB: the result of 75 kB" in text and "Memory: " in text
    assert forecast.to_json()["bytes_to_write"] == forecast.bytes_to_write


def test_sizes() -> None:
    assert [to_size(count) for count in (999, 17_000_000, 1_400_000_000)] == ["999 B", "17 MB", "1.4 GB"]


def test_a_resume_tells_what_remains(tmp_path: Path) -> None:
    trainer = TinyRun(folder=tmp_path).trainer()
    assert trainer.parts.train is not None
    fresh = make_forecast(trainer.module, trainer.parts.train, trainer.parts.plan, trainer.args, saving=Saving())
    assert not fresh.is_finished and "remain" not in "\n".join(fresh.lines())
    assert "Steps: 12 (6 an epoch), 5 done, 7 remain" in replace(fresh, steps_done=5).lines()
    finished = replace(fresh, steps_done=12)
    assert finished.is_finished and "already finished" in finished.lines()[1]
    assert finished.lines()[2].startswith("Will write the result again")


def test_one_thing_is_no_plural() -> None:
    assert (counted(1, "step"), counted(1200, "step")) == ("1 step", "1,200 steps")
