# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""LoKr: a Kronecker product of small matrices added to linear layers (arXiv 2212.10650), through PEFT."""

from collections.abc import Mapping
from typing import ClassVar

from peft import LoKrConfig, PeftConfig
from pydantic import Field

from tunesmith.config.section import Section
from tunesmith.models.adapter_tuner import LayerTuner
from tunesmith.models.tuners.base import tuners


class LoKrParams(Section):
    """Keys of finetuning_type lokr."""

    section: ClassVar[str] = "lokr"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"finetuning_type": ("lokr",)}

    lokr_rank: int = Field(8, ge=1, description="Rank of LoKr's matrices.")
    lokr_alpha: int = Field(8, ge=1, description="Scale of LoKr's addition, over its rank.")
    lokr_target: tuple[str, ...] = Field(
        ("all",), description="Modules to adapt: all linear layers, names such as q_proj, or a regular expression."
    )


@tuners.register("lokr")
class LoKrTuner(LayerTuner):
    """Trains LoKr's matrices; the base model stays as it is."""

    Params: ClassVar[type[Section]] = LoKrParams
    takes_quantised: ClassVar[bool] = False  # PEFT computes with the base's weight itself
    config_type: ClassVar[type[PeftConfig]] = LoKrConfig
    saved_as: ClassVar[Mapping[str, str]] = {
        "lokr_rank": "r",
        "lokr_alpha": "alpha",
        "lokr_target": "target_modules",
    }
