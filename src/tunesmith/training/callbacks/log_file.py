# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""`trainer_log.jsonl`: one line per logged loss or evaluation, with LLaMA-Factory's field names and some more."""

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tunesmith.core.files import write_text_atomic
from tunesmith.training.trainer import TunesmithTrainer

LOG_FILE = "trainer_log.jsonl"
# Our name of a logged value → LLaMA-Factory's name in the file; others keep their own.
_RENAMED = {"learning_rate": "lr", "rewards/accuracies": "accuracy", "accuracy": "token_accuracy"}
_LEFT_OUT = {"epoch", "step", "total_tokens"}


class LogFile(TrainerCallback):
    """Appends to the log; a resumed run first drops the lines beyond its checkpoint."""

    def __init__(self, trainer: TunesmithTrainer, folder: Path) -> None:
        self._trainer, self._path = trainer, folder / LOG_FILE
        self._began, self._first_step = 0.0, 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the file, or cut it back to the step that training continues from."""
        self._began, self._first_step = time.monotonic(), state.global_step
        if state.is_world_process_zero:
            write_text_atomic(self._path, "".join(lines_up_to(self._path, state.global_step)))

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Append a line for a training loss or an evaluation."""
        logs = kwargs["logs"]
        totals = self._trainer.totals()  # a sum over ranks: every rank asks
        if not state.is_world_process_zero or not {"loss", "eval_loss"} & set(logs):
            return
        values = {_RENAMED.get(name, name): value for name, value in logs.items() if name not in _LEFT_OUT}
        line = {
            "current_steps": state.global_step,
            "total_steps": state.max_steps,
            **values,
            "epoch": state.epoch,
            "percentage": round(100 * state.global_step / max(state.max_steps, 1), 2),
            "elapsed_time": _clock(totals.seconds),
            "remaining_time": _clock(self._remaining(state)),
            "throughput": round(totals.rate(totals.tokens), 2),
            "total_tokens": totals.tokens,
        }
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def _remaining(self, state: TrainerState) -> float:
        done = state.global_step - self._first_step
        return (time.monotonic() - self._began) / done * (state.max_steps - state.global_step) if done else 0.0


def lines_up_to(path: Path, step: int) -> list[str]:
    """Give the whole lines of an earlier log up to a step; a line cut off by a kill is dropped."""
    if step == 0 or not path.exists():
        return []
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            entry = json.loads(line)
        except ValueError:
            break
        if entry["current_steps"] <= step:
            kept.append(line)
    return kept


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=int(seconds)))
