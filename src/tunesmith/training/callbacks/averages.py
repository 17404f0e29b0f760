# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Schedule-free optimizers train one set of weights and mean another: the mean is what is evaluated and saved."""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tunesmith.training.trainer import TunesmithTrainer


class AveragedWeights(TrainerCallback):
    """Puts the mean in place before evaluations, checkpoints and the end; the next step takes the other set again.

    Must come last, when the other callbacks have said what follows a step. transformers' loop calls `train()` itself.
    """

    def __init__(self, trainer: TunesmithTrainer) -> None:
        self._trainer = trainer

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Put the mean in place where an evaluation or a checkpoint follows."""
        if control.should_evaluate or control.should_save:
            self._settle()

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Do the same after an epoch."""
        self.on_step_end(args, state, control)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave the mean in place."""
        self._settle()

    def _settle(self) -> None:
        optimizer: Any = self._trainer.optimizer
        if self._trainer.args.optim.startswith("schedule_free"):
            optimizer.eval()
