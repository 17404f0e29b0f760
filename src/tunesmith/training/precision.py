# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Which number format the weights are loaded in, and which one training changes them in.

LLaMA-Factory's rules: bf16 and fp16 load frozen weights in the short format and train float32 ones under autocast;
pure_bf16 keeps everything in bfloat16. Without any of them all is float32.
"""

from dataclasses import dataclass

import torch
from torch import nn

from tunesmith.config.sections.training import TrainingSection
from tunesmith.core.errors import refusal


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Formats of the loaded and of the trained weights."""

    loaded: torch.dtype
    trained: torch.dtype


def choose_precision(training: TrainingSection, *, trains_all: bool, device: torch.device) -> Precision:
    """Choose the formats; weights that are all trained are loaded in the format they are trained in."""
    if training.pure_bf16:
        return Precision(loaded=torch.bfloat16, trained=torch.bfloat16)
    if training.fp16 and device.type == "cpu":
        raise refusal(
            "training.precision_unsupported",
            "fp16 needs a GPU; this run is on the CPU.",
            "Write bf16: true, or neither for float32.",
            key="fp16",
        )
    is_mixed = training.bf16 or training.fp16
    if not is_mixed or trains_all:
        return Precision(loaded=torch.float32, trained=torch.float32)
    return Precision(loaded=torch.bfloat16 if training.bf16 else torch.float16, trained=torch.float32)


def cast_trained(model: nn.Module, dtype: torch.dtype) -> None:
    """Bring the weights that training changes into one format."""
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.is_floating_point() and parameter.dtype != dtype:
            parameter.data = parameter.data.to(dtype)
