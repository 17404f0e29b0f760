# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""HQQ: half-quadratic quantisation without calibration, in groups of 64 (mobiusml's package).

transformers 5.23 refuses its own HQQ class ("not available yet"), so the layers are exchanged here after loading.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tunesmith.core.optional import import_optional
from tunesmith.models.quantizers.base import Quantization, Quantizer, quantizers

GROUP = 64


@quantizers.register("hqq")
class Hqq(Quantizer):
    """Exchanges linear layers but the head for HQQ's."""

    bits = (4, 8, 5, 6, 3, 2, 1)
    package = "hqq"

    def finish(self, model: PreTrainedModel, wanted: Quantization | None) -> None:
        """Quantise the loaded layers one by one."""
        assert wanted is not None, "folders with HQQ weights are refused"
        core: Any = import_optional("hqq.core.quantize", extra="quant", needed_for="quantization_method: hqq")
        heads = [model.get_output_embeddings(), dict(model.named_children()).get("score")]  # of language or of rewards
        layers = [
            name
            for name, module in model.named_modules()
            if type(module) is nn.Linear and not any(module is head for head in heads)
        ]
        for name in layers:
            layer: Any = model.get_submodule(name)
            made = core.HQQLinear(
                layer,
                quant_config=core.hqq_base_quant_config(nbits=wanted.bits, group_size=GROUP, axis=1),
                compute_dtype=layer.weight.dtype,
                device=str(layer.weight.device),
            )
            made.in_features, made.out_features = layer.in_features, layer.out_features
            model.set_submodule(name, made)
        model.requires_grad_(False)

    def owns(self, module: nn.Module) -> bool:
        """Say whether a module is HQQ's linear layer."""
        return type(module).__name__ == "HQQLinear" and type(module).__module__.startswith("hqq.")

    def weight_OI(self, module: Any) -> Tensor:
        """Dequantise."""
        values: Tensor = module.dequantize()
        return values.detach().to(torch.float32)
