# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""BOFT: orthogonal rotations of linear layers, factored as butterflies (arXiv 2311.06243), through PEFT."""

from collections.abc import Mapping
from typing import ClassVar

from peft import BOFTConfig, PeftConfig
from pydantic import Field, model_validator

from tunesmith.config.section import Section
from tunesmith.models.adapter_tuner import LayerTuner
from tunesmith.models.tuners.base import tuners


class BoftParams(Section):
    """Keys of finetuning_type boft."""

    section: ClassVar[str] = "boft"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"finetuning_type": ("boft",)}

    boft_block_size: int = Field(4, ge=0, description="Size of the blocks of a rotation; 0: by boft_block_num.")
    boft_block_num: int = Field(0, ge=0, description="Number of blocks of a rotation; 0: by boft_block_size.")
    boft_n_butterfly_factor: int = Field(1, ge=1, description="Number of factors; more of them mix further inputs.")
    boft_dropout: float = Field(0.0, ge=0.0, lt=1.0, description="Share of blocks that a training step leaves out.")
    boft_target: tuple[str, ...] = Field(
        ("all",), description="Modules to adapt: all linear layers, names such as q_proj, or a regular expression."
    )

    @model_validator(mode="after")
    def _one_size(self) -> "BoftParams":
        if (self.boft_block_size == 0) == (self.boft_block_num == 0):
            raise ValueError("one of boft_block_size and boft_block_num must be 0: their product is a layer's width")
        return self


@tuners.register("boft")
class BoftTuner(LayerTuner):
    """Trains rotations; the base model stays as it is."""

    Params: ClassVar[type[Section]] = BoftParams
    config_type: ClassVar[type[PeftConfig]] = BOFTConfig
    saved_as: ClassVar[Mapping[str, str]] = {
        "boft_block_size": "boft_block_size",
        "boft_block_num": "boft_block_num",
        "boft_n_butterfly_factor": "boft_n_butterfly_factor",
        "boft_dropout": "boft_dropout",
        "boft_target": "target_modules",
    }
