# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""MiSS, known as Bone before: one small matrix a layer, spread over its inputs (arXiv 2409.15371), through PEFT."""

from collections.abc import Mapping
from typing import ClassVar

from peft import MissConfig, PeftConfig
from pydantic import Field

from tunesmith.config.section import Section
from tunesmith.models.adapter_tuner import LayerTuner
from tunesmith.models.tuners.base import tuners


class MissParams(Section):
    """Keys of finetuning_type miss."""

    section: ClassVar[str] = "miss"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"finetuning_type": ("miss",)}

    miss_rank: int = Field(64, ge=1, description="Rows of the small matrix of each layer.")
    miss_dropout: float = Field(0.0, ge=0.0, lt=1.0, description="Dropout before the small matrix.")
    miss_target: tuple[str, ...] = Field(
        ("all",), description="Modules to adapt: all linear layers, names such as q_proj, or a regular expression."
    )


@tuners.register("miss")
class MissTuner(LayerTuner):
    """Trains one small matrix a layer; the base model stays as it is."""

    Params: ClassVar[type[Section]] = MissParams
    config_type: ClassVar[type[PeftConfig]] = MissConfig
    saved_as: ClassVar[Mapping[str, str]] = {
        "miss_rank": "r",
        "miss_dropout": "miss_dropout",
        "miss_target": "target_modules",
    }
