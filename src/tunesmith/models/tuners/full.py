# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Full fine-tuning: every weight of the model is trained and saved."""

from pathlib import Path
from typing import ClassVar

from torch import nn
from transformers import PreTrainedModel

from tunesmith.config.section import Section
from tunesmith.models.anatomy import base_model
from tunesmith.models.saved_weights import copy_whole_model, save_whole_model
from tunesmith.models.tuners.base import Tuner, set_trained_dtype, tuners


class FullParams(Section):
    """Keys of finetuning_type full; it has none of its own."""

    section: ClassVar[str] = "full"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"finetuning_type": ("full",)}


@tuners.register("full")
class FullTuner(Tuner):
    """Trains all weights."""

    Params: ClassVar[type[Section]] = FullParams

    def attach(self, model: PreTrainedModel) -> nn.Module:
        """Make every weight trainable."""
        model.requires_grad_(True)
        set_trained_dtype(model, pure_bf16=self.pure_bf16)
        return model

    def load(self, model: PreTrainedModel, folder: Path, *, is_trainable: bool) -> nn.Module:
        """Copy a saved whole model into `model`."""
        if is_trainable:
            self.attach(model)
        else:
            model.requires_grad_(False)
        copy_whole_model(model, folder)
        return model

    def restore(self, model: nn.Module, folder: Path) -> None:
        """Copy a saved whole model into `model`."""
        copy_whole_model(base_model(model), folder)

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the whole model."""
        save_whole_model(base_model(model), folder)

    def merge(self, model: nn.Module) -> PreTrainedModel:
        """Give the model itself: nothing was added to it."""
        return base_model(model)
