# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""OFT: orthogonal rotations, block by block, of what enters linear layers (arXiv 2306.07280), through PEFT.

The rotation is the Cayley transform of a skew-symmetric matrix, approximated by its first five terms as in PEFT. Unlike
in LLaMA-Factory `oft_target` is obeyed, and adapters are loaded, continued and merged.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar

from peft import OFTConfig, PeftConfig, PeftModel
from pydantic import Field, model_validator
from transformers import PreTrainedModel

from tunesmith.config.section import Section
from tunesmith.models.adapter_tuner import LayerTuner
from tunesmith.models.patches.oft_inputs import accept_four_dimensions
from tunesmith.models.tuners.base import tuners


class OftParams(Section):
    """Keys of finetuning_type oft."""

    section: ClassVar[str] = "oft"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"finetuning_type": ("oft",)}

    oft_rank: int = Field(0, ge=0, description="Number of blocks of each rotation; 0: by oft_block_size.")
    oft_block_size: int = Field(32, ge=0, description="Size of the blocks of a rotation; 0: by oft_rank.")
    module_dropout: float = Field(0.0, ge=0.0, lt=1.0, description="Share of blocks that a training step leaves out.")
    oft_target: tuple[str, ...] = Field(
        ("all",), description="Modules to rotate: all linear layers, names such as q_proj, or a regular expression."
    )

    @model_validator(mode="after")
    def _one_size(self) -> "OftParams":
        if (self.oft_rank == 0) == (self.oft_block_size == 0):
            raise ValueError("one of oft_rank and oft_block_size must be 0, because their product is a layer's width")
        return self


@tuners.register("oft")
class OftTuner(LayerTuner):
    """Trains rotations; the base model stays as it is."""

    Params: ClassVar[type[Section]] = OftParams
    config_type: ClassVar[type[PeftConfig]] = OFTConfig
    saved_as: ClassVar[Mapping[str, str]] = {
        "oft_rank": "r",
        "oft_block_size": "oft_block_size",
        "module_dropout": "module_dropout",
        "oft_target": "target_modules",
    }

    def _wrap(
        self, model: PreTrainedModel, config: PeftConfig, finish: Callable[[PeftModel], None] | None = None
    ) -> PeftModel:
        wrapped = super()._wrap(model, config, finish)
        accept_four_dimensions(wrapped)
        return wrapped
