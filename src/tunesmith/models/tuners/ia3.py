# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""IA3: one trained vector a layer that scales what leaves it, or what enters it (arXiv 2205.05638), through PEFT."""

from collections.abc import Mapping
from typing import ClassVar

from peft import IA3Config, PeftConfig
from pydantic import Field
from transformers import PreTrainedModel

from tunesmith.config.section import Section
from tunesmith.models.adapter_tuner import LayerTuner
from tunesmith.models.tuners.base import tuners

# Names of the last layer of a feed-forward block, by model family.
_FEEDFORWARD = frozenset({"down_proj", "dense_4h_to_h", "fc2", "fc_out", "w2", "c_proj"})


class Ia3Params(Section):
    """Keys of finetuning_type ia3."""

    section: ClassVar[str] = "ia3"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"finetuning_type": ("ia3",)}

    ia3_target: tuple[str, ...] = Field(
        ("all",), description="Modules to scale: all linear layers, names such as k_proj, or a regular expression."
    )
    ia3_feedforward: tuple[str, ...] | None = Field(
        None, description="Those of them whose input is scaled, not their output; unset: down_proj and its like."
    )


@tuners.register("ia3")
class Ia3Tuner(LayerTuner):
    """Trains scales; the base model stays as it is."""

    Params: ClassVar[type[Section]] = Ia3Params
    config_type: ClassVar[type[PeftConfig]] = IA3Config
    saved_as: ClassVar[Mapping[str, str]] = {
        "ia3_target": "target_modules",
        "ia3_feedforward": "feedforward_modules",
    }

    def configure(self, model: PreTrainedModel) -> PeftConfig:
        """Name the layers whose inputs are scaled."""
        config = super().configure(model)
        assert isinstance(self.params, Ia3Params) and isinstance(config, IA3Config)
        names = {name.split(".")[-1] for name, _ in model.named_modules()}
        config.feedforward_modules = sorted(set(self.params.ia3_feedforward or names & _FEEDFORWARD))
        return config
