# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""FourierFT: adds the inverse Fourier transform of a sparse spectrum to layers (arXiv 2405.03003), through PEFT."""

from collections.abc import Mapping
from typing import Any, ClassVar

from peft import FourierFTConfig, PeftConfig
from pydantic import Field

from tunesmith.config.section import Section
from tunesmith.models.adapter_tuner import LayerTuner
from tunesmith.models.tuners.base import tuners


class FourierFTParams(Section):
    """Keys of finetuning_type fourierft."""

    section: ClassVar[str] = "fourierft"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"finetuning_type": ("fourierft",)}

    fourier_n_frequency: int = Field(2000, ge=1, description="Number of trained frequencies of each layer.")
    fourier_scaling: float = Field(300.0, gt=0.0, description="Scale of the addition.")
    fourierft_target: tuple[str, ...] = Field(
        ("all",), description="Modules to adapt: all linear layers, names such as q_proj, or a regular expression."
    )


@tuners.register("fourierft")
class FourierFTTuner(LayerTuner):
    """Trains spectra; the base model stays as it is."""

    Params: ClassVar[type[Section]] = FourierFTParams
    config_type: ClassVar[type[PeftConfig]] = FourierFTConfig
    saved_as: ClassVar[Mapping[str, str]] = {
        "fourier_n_frequency": "n_frequency",
        "fourier_scaling": "scaling",
        "fourierft_target": "target_modules",
    }
    # Zeros, where the paper starts from noise: so the model starts as it was.
    fixed: ClassVar[Mapping[str, Any]] = {"init_weights": True}
