# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Callbacks that steer a run: clock and finished resumes, what is logged, the guard, early stopping, interruption."""

from typing import Any

import numpy as np
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import IntervalStrategy

from tunesmith.core.errors import refusal
from tunesmith.training.interrupt import InterruptFlag
from tunesmith.training.trainer import TunesmithTrainer

_WAITED = "evaluations_without_progress"


class RunClock(TrainerCallback):
    """Starts the clock of training, and ends at once a resumed run that has no step left."""

    def __init__(self, trainer: TunesmithTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        self._trainer.meter.start()
        control.should_training_stop = state.global_step >= state.max_steps
        best = state.best_global_step
        path = self._trainer.parts.checkpoints.path(best) if best is not None else None
        # The folder may have been moved since; the step is what counts.
        state.best_model_checkpoint = str(path) if path is not None and path.is_dir() else None


class LogEnds(TrainerCallback):
    """Logs the last step, and the first one of a run too short for two logs, so that every run has a loss curve."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Ask for a log where the steps between logs would leave an end out."""
        if args.logging_strategy != IntervalStrategy.STEPS:
            return
        is_short = state.max_steps < 2 * state.logging_steps
        if state.global_step >= state.max_steps or (is_short and state.global_step == 1):
            control.should_log = True


class WeightGuard(TrainerCallback):
    """Looks at the trainable weights after every optimizer step."""

    def __init__(self, trainer: TunesmithTrainer) -> None:
        self._trainer = trainer

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Stop the run when a weight is no longer finite."""
        self._trainer.check_weights()


class EarlyStopping(TrainerCallback):
    """Ends training after `patience` evaluations in a row without a better metric; counts on after a resume."""

    def __init__(self, trainer: TunesmithTrainer, *, patience: int) -> None:
        self._state, self._patience = trainer.callback_state, patience

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End at once a resumed run that had been stopped."""
        if self._waited >= self._patience:
            control.should_training_stop = True

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Compare the evaluation with the best one so far."""
        name = str(args.metric_for_best_model)
        value = kwargs["metrics"][name if name.startswith("eval_") else f"eval_{name}"]
        is_better = np.greater if args.greater_is_better else np.less
        improves = state.best_metric is None or bool(is_better(value, state.best_metric))
        self._state[_WAITED] = 0 if improves else self._waited + 1
        if self._waited >= self._patience:
            control.should_training_stop = True

    @property
    def _waited(self) -> int:
        return int(self._state.get(_WAITED, 0))


class StopWhenInterrupted(TrainerCallback):
    """Finishes the step after Ctrl-C, saves a checkpoint and ends the run."""

    def __init__(self, flag: InterruptFlag) -> None:
        self._flag = flag

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Ask for a checkpoint when the run was interrupted."""
        control.should_save = control.should_save or self._flag.is_set

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """End the run once its checkpoint is on disk."""
        if self._flag.is_set:
            raise refusal(
                "training.run_interrupted",
                f"Interrupted: step {state.global_step} of {state.max_steps} was finished and saved as "
                f"checkpoint-{state.global_step} in {args.output_dir}.",
                "Continue with resume_from_checkpoint: true.",
                file=args.output_dir,
            )
