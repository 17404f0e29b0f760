# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""bitsandbytes: 4-bit NF4 or FP4 blocks of 64 (QLoRA, arXiv 2305.14314) and 8-bit rows (LLM.int8, arXiv 2208.07339).

On CPUs both would compute otherwise in evaluation than in training: see `finish`.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BitsAndBytesConfig, PreTrainedModel

from tunesmith.core.optional import import_optional
from tunesmith.models.quantizers.base import Quantization, Quantizer, quantizers


@quantizers.register("bnb")
class BitsAndBytes(Quantizer):
    """Quantises linear layers but the head while they load."""

    bits = (4, 8)
    reads = ("bitsandbytes", "bitsandbytes_4bit", "bitsandbytes_8bit")
    package = "bitsandbytes"

    def options(self, wanted: Quantization | None) -> dict[str, Any]:
        """Ask transformers for bitsandbytes' layers; quantised folders ask for them themselves."""
        if wanted is None:
            return {}
        if wanted.bits == 8:
            return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
        return {
            "quantization_config": BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type=wanted.kind,
                bnb_4bit_use_double_quant=wanted.is_double,
                bnb_4bit_compute_dtype=getattr(torch, wanted.dtype),
            )
        }

    def finish(self, model: PreTrainedModel, wanted: Quantization | None) -> None:
        """Keep evaluation (and PEFT's DoRA, which loses an 8-bit layer's scales) from changing how weights are used.

        The first forward of a 4-bit layer without gradient on a CPU with AVX512-BF16 packs the weight anew, in place.
        That form has no backward pass: gradients of later training steps are wrong without a word, and so is what is
        dequantised, saved or merged (seen with 0.50.2). An 8-bit layer on a CPU rounds its inputs in evaluation only.
        """
        for module in model.modules():
            if _is_four_bit(module):
                module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]  # an attribute of bitsandbytes
            elif self.owns(module) and next(module.parameters()).device.type == "cpu":
                module.register_forward_pre_hook(_compute_as_in_training)
                module.init_8bit_state()  # type: ignore[operator]  # from here on its scales are safe

    def owns(self, module: nn.Module) -> bool:
        """Say whether a module is one of bitsandbytes' linear layers with quantised weights."""
        return type(module).__module__.startswith("bitsandbytes.") and isinstance(module, nn.Linear)

    def weight_OI(self, module: Any) -> Tensor:
        """Dequantise as the forward pass does, in float32."""
        functional: Any = import_optional("bitsandbytes", extra="quant", needed_for="This model").functional
        weight = module.weight
        if not _is_four_bit(module):
            rows = weight.SCB if weight.SCB is not None else module.state.SCB
            values: Tensor = functional.int8_vectorwise_dequant(weight.data, rows)
            return values.detach().float()
        assert not getattr(weight.quant_state, "packing_format_for_cpu", False), "finish was not called"
        state = copy.copy(weight.quant_state)
        state.dtype = torch.float32
        values = functional.dequantize_4bit(weight.data, state)
        return values.detach()

    def widen(self, module: Any) -> bool:
        """Compute with float32 inputs."""
        if _is_four_bit(module):
            module.compute_dtype, module.compute_type_is_set = torch.float32, True
        return True


def _is_four_bit(module: nn.Module) -> bool:
    return type(module).__name__ == "Linear4bit" and type(module).__module__.startswith("bitsandbytes.")


def _compute_as_in_training(module: Any, inputs: Any) -> None:
    module.training = True
    if module.weight.SCB is None:  # PEFT's DoRA made the weight anew, without its scales; the state holds both
        module.weight.CB = None
