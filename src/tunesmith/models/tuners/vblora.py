# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""VB-LoRA: low-rank additions mixed from a bank of vectors that all layers share (arXiv 2405.15179), through PEFT."""

from collections.abc import Mapping
from typing import ClassVar

from peft import PeftConfig, VBLoRAConfig
from pydantic import Field

from tunesmith.config.section import Section
from tunesmith.models.adapter_tuner import LayerTuner
from tunesmith.models.tuners.base import tuners


class VBLoraParams(Section):
    """Keys of finetuning_type vblora."""

    section: ClassVar[str] = "vblora"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"finetuning_type": ("vblora",)}

    vblora_rank: int = Field(4, ge=1, description="Rank of the added matrices.")
    vblora_num_vectors: int = Field(256, ge=1, description="Number of vectors in the bank.")
    vblora_vector_length: int = Field(64, ge=1, description="Length of a vector; it must divide every layer's widths.")
    vblora_topk: int = Field(2, ge=1, description="Number of vectors that are mixed into each piece.")
    vblora_dropout: float = Field(0.0, ge=0.0, lt=1.0, description="Dropout before the added matrices.")
    vblora_target: tuple[str, ...] = Field(
        ("all",), description="Modules to adapt: all linear layers, names such as q_proj, or a regular expression."
    )


@tuners.register("vblora")
class VBLoraTuner(LayerTuner):
    """Trains a bank of vectors and how they are mixed; the base model stays as it is."""

    Params: ClassVar[type[Section]] = VBLoraParams
    starts_as_identity: ClassVar[bool] = False
    config_type: ClassVar[type[PeftConfig]] = VBLoRAConfig
    saved_as: ClassVar[Mapping[str, str]] = {
        "vblora_rank": "r",
        "vblora_num_vectors": "num_vectors",
        "vblora_vector_length": "vector_length",
        "vblora_topk": "topk",
        "vblora_dropout": "vblora_dropout",
        "vblora_target": "target_modules",
    }
