# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The terminal during training: steps, loss, tokens per second, supervised tokens, remaining time, evaluations."""

import time
from datetime import datetime, timedelta
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tunesmith.core.progress import Progress, format_seconds, say
from tunesmith.training.trainer import TunesmithTrainer

# The expected end is told once this many steps and seconds have passed: the first steps are slow.
_FIRST_STEPS, _FIRST_SECONDS = 3, 5.0
# An end that is nearer than this is seen before it is read.
_LEAST_SECONDS_LEFT = 10.0


class ProgressLine(TrainerCallback):
    """Draws the progress line and tells the expected end after the first steps."""

    def __init__(self, trainer: TunesmithTrainer) -> None:
        self._trainer = trainer
        self._progress = Progress("training", 0, "steps")
        self._began, self._first_step = 0.0, 0
        self._has_told_end = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin the line at the step that training begins with."""
        self._progress = Progress("training", state.max_steps, "steps", start=state.global_step)
        self._began, self._first_step = time.monotonic(), state.global_step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Advance by one step."""
        if not state.is_world_process_zero:
            return
        self._tell_end(state)
        self._progress.advance(1, self._detail())

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write evaluations as lines of their own."""
        logs = kwargs["logs"]
        values = [f"{name} {value:.4f}" for name, value in logs.items() if name.endswith(("_loss", "_accuracy"))]
        if "eval_loss" in logs and state.is_world_process_zero:
            self._progress.close()
            say(f"step {state.global_step}: {' · '.join(values)}")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End the line."""
        self._progress.close()

    def _detail(self) -> str:
        """Numbers of this rank: a sum over ranks at every step would cost more than it tells."""
        here = self._trainer.meter.here
        seconds = max(time.monotonic() - self._began, 1e-9)
        loss = self._trainer.meter.last_loss
        return f"loss {loss:.4f} · {here.tokens / seconds:,.0f} tokens/s · {here.supervised_tokens:,} supervised tokens"

    def _tell_end(self, state: TrainerState) -> None:
        done, seconds = state.global_step - self._first_step, time.monotonic() - self._began
        if self._has_told_end or done < _FIRST_STEPS or seconds < _FIRST_SECONDS:
            return
        self._has_told_end = True
        left = seconds / done * (state.max_steps - state.global_step)
        if left < _LEAST_SECONDS_LEFT:
            return
        self._progress.close()
        end = datetime.now() + timedelta(seconds=left)
        say(f"Expected end: {end:%Y-%m-%d %H:%M:%S} (in {format_seconds(left)}), evaluations and saving not counted.")
