# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""LoHa: the elementwise product of two low-rank additions to linear layers (arXiv 2108.06098), through PEFT."""

from collections.abc import Mapping
from typing import ClassVar

from peft import LoHaConfig, PeftConfig
from pydantic import Field

from tunesmith.config.section import Section
from tunesmith.models.adapter_tuner import LayerTuner
from tunesmith.models.tuners.base import tuners


class LoHaParams(Section):
    """Keys of finetuning_type loha."""

    section: ClassVar[str] = "loha"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"finetuning_type": ("loha",)}

    loha_rank: int = Field(8, ge=1, description="Rank of LoHa's matrices.")
    loha_alpha: int = Field(8, ge=1, description="Scale of LoHa's addition, over its rank.")
    loha_target: tuple[str, ...] = Field(
        ("all",), description="Modules to adapt: all linear layers, names such as q_proj, or a regular expression."
    )


@tuners.register("loha")
class LoHaTuner(LayerTuner):
    """Trains LoHa's matrices; the base model stays as it is."""

    Params: ClassVar[type[Section]] = LoHaParams
    takes_quantised: ClassVar[bool] = False  # PEFT computes with the base's weight itself
    config_type: ClassVar[type[PeftConfig]] = LoHaConfig
    saved_as: ClassVar[Mapping[str, str]] = {
        "loha_rank": "r",
        "loha_alpha": "alpha",
        "loha_target": "target_modules",
    }
