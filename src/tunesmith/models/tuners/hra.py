# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""HRA: linear layers turned by a chain of Householder reflections (arXiv 2405.17484), through PEFT."""

from collections.abc import Mapping
from typing import ClassVar

from peft import HRAConfig, PeftConfig
from pydantic import Field

from tunesmith.config.section import Section
from tunesmith.models.adapter_tuner import LayerTuner
from tunesmith.models.tuners.base import tuners


class HraParams(Section):
    """Keys of finetuning_type hra."""

    section: ClassVar[str] = "hra"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"finetuning_type": ("hra",)}

    hra_rank: int = Field(
        8,
        ge=2,
        multiple_of=2,
        description="Number of reflections a layer; in pairs they start as the identity.",
    )
    hra_apply_gs: bool = Field(False, description="Make the reflections orthogonal to each other (Gram-Schmidt).")
    hra_target: tuple[str, ...] = Field(
        ("all",), description="Modules to adapt: all linear layers, names such as q_proj, or a regular expression."
    )


@tuners.register("hra")
class HraTuner(LayerTuner):
    """Trains reflections; the base model stays as it is."""

    Params: ClassVar[type[Section]] = HraParams
    takes_quantised: ClassVar[bool] = False  # PEFT computes with the base's weight itself
    config_type: ClassVar[type[PeftConfig]] = HRAConfig
    saved_as: ClassVar[Mapping[str, str]] = {
        "hra_rank": "r",
        "hra_apply_gs": "apply_GS",
        "hra_target": "target_modules",
    }
