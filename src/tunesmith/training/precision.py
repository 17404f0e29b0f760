# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Which number format the weights are loaded in.

LLaMA-Factory's rules: bf16 and fp16 load frozen weights in the short format and train float32 ones under autocast (the
tuners see to those); pure_bf16 keeps everything in bfloat16. With bf16: false all is float32. A run that names no
format computes in bfloat16 where the weights are stored in it and the device multiplies it in hardware.
"""

import contextlib
from collections.abc import Iterator

import torch

from tunesmith.config.sections.training import TrainingSection
from tunesmith.core.cpu import read_cpu
from tunesmith.core.errors import refusal


@contextlib.contextmanager
def mixed_precision(training: TrainingSection, device: torch.device) -> Iterator[None]:
    """Compute as training does: trained float32 weights beside frozen short ones only work together so."""
    dtype = torch.bfloat16 if training.bf16 else torch.float16
    with torch.autocast(device.type, dtype=dtype, enabled=bool(training.bf16 or training.fp16)):
        yield


def names_no_format(training: TrainingSection) -> bool:
    """Say whether the number format is left to the program."""
    return training.bf16 is None and not (training.fp16 or training.pure_bf16)


def fast_bf16(device: torch.device) -> str:
    """Name what multiplies bfloat16 matrices in hardware on a device; empty where nothing does."""
    if device.type == "cpu":
        return read_cpu().bf16_unit or ""
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return "the GPU"
    return ""


def choose_dtype(training: TrainingSection, *, trains_all: bool, device: torch.device) -> torch.dtype:
    """Choose the format to load; weights that are all trained are loaded in the format they are trained in."""
    if training.pure_bf16:
        return torch.bfloat16
    if training.fp16 and device.type == "cpu":
        raise refusal(
            "training.precision_unsupported",
            "fp16 needs a GPU; this run is on the CPU.",
            "Write bf16: true, or neither for float32.",
            key="fp16",
        )
    if trains_all or not (training.bf16 or training.fp16):
        return torch.float32
    return torch.bfloat16 if training.bf16 else torch.float16
