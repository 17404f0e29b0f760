# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint holds beside weights and counts: optimizer, scheduler, scaler, tuner and random generators."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from tunesmith.models.tuners.base import Tuner
from tunesmith.training.random_state import restore_random_state
from tunesmith.training.state_files import has_tree, load_tree, save_tree


@dataclass(frozen=True, kw_only=True)
class RunStates:
    """The parts of a run whose states go on where a checkpoint left them; `scaler` is None without fp16."""

    optimizer: Any
    scheduler: Any
    scaler: Any | None
    tuner: Tuner
    model: nn.Module

    def write(self, folder: Path, random_states: Sequence[Any]) -> None:
        """Write all states; `random_states` are those of every rank."""
        save_tree(self.optimizer.state_dict(), folder, "optimizer")
        save_tree(self.scheduler.state_dict(), folder, "scheduler")
        save_tree(self.tuner.running_state(self.model), folder, "tuner")
        if self.scaler is not None:
            save_tree(self.scaler.state_dict(), folder, "scaler")
        for rank, state in enumerate(random_states):
            save_tree(state, folder, f"random_{rank}")

    def restore(self, folder: Path) -> None:
        """Read all states but those of random generators."""
        self.optimizer.load_state_dict(load_tree(folder, "optimizer"))
        self.scheduler.load_state_dict(load_tree(folder, "scheduler"))
        if has_tree(folder, "tuner"):  # absent in checkpoints of earlier versions
            self.tuner.restore_running(self.model, load_tree(folder, "tuner"))
        if self.scaler is not None and has_tree(folder, "scaler"):
            self.scaler.load_state_dict(load_tree(folder, "scaler"))


def restore_random(folder: Path, *, rank: int) -> None:
    """Read a rank's random states, where the checkpoint has them."""
    name = f"random_{rank}"
    if has_tree(folder, name):
        restore_random_state(load_tree(folder, name))
