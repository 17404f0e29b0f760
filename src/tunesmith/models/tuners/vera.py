# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""VeRA: two trained vectors a layer on random matrices that all layers share (arXiv 2310.11454), through PEFT."""

from collections.abc import Mapping
from typing import ClassVar

from peft import PeftConfig, VeraConfig
from pydantic import Field

from tunesmith.config.section import Section
from tunesmith.models.adapter_tuner import LayerTuner
from tunesmith.models.tuners.base import tuners


class VeraParams(Section):
    """Keys of finetuning_type vera."""

    section: ClassVar[str] = "vera"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"finetuning_type": ("vera",)}

    vera_rank: int = Field(256, ge=1, description="Rank of the shared random matrices.")
    vera_projection_prng_key: int = Field(0, ge=0, description="Seed of the shared random matrices.")
    vera_dropout: float = Field(0.0, ge=0.0, lt=1.0, description="Dropout before the matrices.")
    vera_d_initial: float = Field(0.1, gt=0.0, description="First value of the vector between the matrices.")
    vera_target: tuple[str, ...] = Field(
        ("all",), description="Modules to adapt: all linear layers, names such as q_proj, or a regular expression."
    )


@tuners.register("vera")
class VeraTuner(LayerTuner):
    """Trains two vectors a layer; the base model stays as it is."""

    Params: ClassVar[type[Section]] = VeraParams
    config_type: ClassVar[type[PeftConfig]] = VeraConfig
    saved_as: ClassVar[Mapping[str, str]] = {
        "vera_rank": "r",
        "vera_projection_prng_key": "projection_prng_key",
        "vera_dropout": "vera_dropout",
        "vera_d_initial": "d_initial",
        "vera_target": "target_modules",
    }
