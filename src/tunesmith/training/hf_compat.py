# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The private methods of `transformers.Trainer` that verified checkpoints and the guard replace, and nothing else.

Each is turned into a public hook of ours. `TESTED` names the versions that were read; a test compares the hashes of the
methods replaced, and of the loop that calls them, with the installed source.
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

# Replaced below, and further down the methods whose order of calls the replacements rely on: name → hash of the source.
REPLACED = {
    "_get_grad_norm": "913ba6f52f074d10",
    "_load_best_model": "0e183d55a9db7414",
    "_load_from_checkpoint": "a2804e8d93a297e3",
    "_load_optimizer_and_scheduler": "741032f57d6fb802",
    "_load_rng_state": "d5ebdfc0a0884c4b",
    "_load_scaler": "c0695f79116426e2",
    "_save_checkpoint": "a9111e30faa99339",
}
RELIED_ON = {
    "_finalize_training": "6d6d83d6a2715f2a",
    "_init_training_state": "8fbd17ebb7d3793d",
    "_inner_training_loop": "20ec4276e99fe7ae",
    "_maybe_log_save_evaluate": "af101534f0f7b2d7",
    "_prepare_for_training": "f55950593d7e10c0",
    "_run_epoch": "31aff00f34c302a2",
    "train": "9a3c2bcd066d8f99",
    "training_step": "e9760c8ee10308d5",
}


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
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)  # type: ignore[no-untyped-call]
        self.check_step(float(norm) if isinstance(norm, torch.Tensor | float | int) else None)
        return norm
