# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Training aids: what is added to a model or to its computation while it is trained, and taken away afterwards."""

from typing import ClassVar, Literal

from pydantic import Field

from tunesmith.config.section import Section


class AidsSection(Section):
    """Noise, kernels, offloading, number formats and balance of experts during training."""

    section: ClassVar[str] = "aids"

    neftune_noise_alpha: float | None = Field(
        None, ge=0, description="NEFTune: strength of uniform noise on embeddings while training; 5 is usual."
    )
    moe_aux_loss_coef: float | None = Field(
        None, ge=0, description="Weight of the loss that keeps the experts of a mixture evenly used."
    )
    use_unsloth_gc: bool = Field(
        False, description="Keep what gradient checkpointing keeps in the CPU's memory; for GPUs."
    )
    activation_offloading: bool = Field(
        False, description="Keep all activations in the CPU's memory until the backward pass; for GPUs."
    )
    enable_liger_kernel: bool = Field(False, description="Use Liger's fused kernels on GPUs, where installed.")
    liger_kernel_config: dict[str, bool] | None = Field(
        None, description="Which of Liger's kernels, such as {rms_norm: true, swiglu: false}."
    )
    use_unsloth: bool = Field(False, description="Accepted for compatibility: the model is loaded as ever.")
    use_v1_kernels: bool = Field(False, description="Accepted for compatibility: kernels are chosen by themselves.")
    upcast_layernorm: bool = Field(False, description="Hold frozen norms in float32 beside short weights.")
    print_param_status: bool = Field(False, description="List every weight: format, device, trained or not.")
    train_from_scratch: bool = Field(False, description="Begin with random weights instead of the model's.")
    freeze_vision_tower: bool = Field(True, description="Keep the vision part of a multimodal model as it is.")
    freeze_multi_modal_projector: bool = Field(True, description="Keep the projector of a multimodal model as it is.")
    freeze_language_model: bool = Field(False, description="Keep the language part of a multimodal model as it is.")
    fp8: bool = Field(False, description="Multiply matrices in 8-bit floats; needs a GPU that does.")
    fp8_backend: Literal["auto", "torchao", "te", "msamp"] = Field("auto", description="Library for fp8.")
    fp8_enable_fsdp_float8_all_gather: bool = Field(False, description="Gather weights of FSDP in 8-bit floats.")
