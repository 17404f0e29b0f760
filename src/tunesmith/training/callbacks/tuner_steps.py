# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Tells the tuner of every optimizer step while the gradients are still there: some choose anew what they train."""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tunesmith.training.trainer import TunesmithTrainer


class TunerSteps(TrainerCallback):
    """Calls the tuner after every step."""

    def __init__(self, trainer: TunesmithTrainer) -> None:
        self._trainer = trainer

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Hand the tuner the step that was just taken; the state counts it only afterwards."""
        model = self._trainer.accelerator.unwrap_model(self._trainer.module)
        self._trainer.parts.tuner.after_step(model, step=state.global_step + 1, num_steps=state.max_steps)
