# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The private methods of `transformers.Trainer` that atomic, verified checkpoints and the guard replace, and nothing else.

Each is turned into a public hook of ours. `TESTED` names the versions that were read; a test compares `SOURCES`, the
hashes of the methods replaced and of the loop that calls them, with the installed source.
"""

import hashlib
import inspect
from abc import abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Trainer

TESTED = ("5.23.0",)

# Replaced below, and (second group) the methods whose order of calls the replacements rely on.
REPLACED = (
    "_get_grad_norm",
    "_load_best_model",
    "_load_from_checkpoint",
    "_load_optimizer_and_scheduler",
    "_load_rng_state",
    "_load_scaler",
    "_save_checkpoint",
)
RELIED_ON = (
    "_finalize_training",
    "_init_training_state",
    "_inner_training_loop",
    "_maybe_log_save_evaluate",
    "_prepare_for_training",
    "_run_epoch",
    "train",
    "training_step",
)
SOURCES: dict[str, str] = {}


def source_hash(name: str) -> str:
    """Hash the source of a method of the installed `transformers.Trainer`."""
    return hashlib.sha256(inspect.getsource(getattr(Trainer, name)).encode()).hexdigest()[:16]


class HookedTrainer(Trainer):
    """`transformers.Trainer` whose saving, loading and gradient check are ours to write."""

    @abstractmethod
    def save_checkpoint(self) -> None:
        """Write the checkpoint of the current step."""

    @abstractmethod
    def restore_weights(self, checkpoint: Path) -> None:
        """Load the trained weights and the counts of a checkpoint that training continues from."""

    @abstractmethod
    def restore_best(self) -> None:
        """Load the trained weights of the best checkpoint, at the end of training."""

    @abstractmethod
    def restore_optimizer(self, checkpoint: Path) -> None:
        """Load the states of optimizer, scheduler and gradient scaler."""

    @abstractmethod
    def restore_random(self, checkpoint: Path) -> None:
        """Load the states of the random generators."""

    @abstractmethod
    def check_step(self, grad_norm: float | None) -> None:
        """Look at the losses and the gradient norm of a step before the optimizer uses its gradients."""

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self.store_flos()
        self.save_checkpoint()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        self.restore_weights(Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        self.restore_best()

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            self.restore_optimizer(Path(checkpoint))

    def _load_scaler(self, checkpoint: str | None) -> None:
        """Nothing: `restore_optimizer` has loaded it."""

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            self.restore_random(Path(checkpoint))

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        self.check_step(float(norm) if isinstance(norm, torch.Tensor | float | int) else None)
        return norm
