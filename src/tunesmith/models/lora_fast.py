# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""LoRA layers computed in one function: the same sums as PEFT's, without its casts and copies of activations.

y = x Wᵀ + s (x Aᵀ) Bᵀ is added up inside the product's own buffer, and so is its gradient. Layers and moments that this
does not cover (dropout, DoRA, several adapters, a trained or quantised base, merged weights) take PEFT's way.
"""

from typing import Any

import torch
import torch.nn.functional as F
from peft.tuners.lora.layer import Linear as PeftLoraLinear
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def use_fast_lora(model: nn.Module) -> int:
    """Let the plain LoRA layers of a model compute in one function, and give their number."""
    layers = [module for module in model.modules() if type(module) is PeftLoraLinear and _is_plain(module)]
    for layer in layers:
        layer.__class__ = FastLoraLinear
    return len(layers)


def _is_plain(layer: PeftLoraLinear) -> bool:
    """Say whether a layer computes with nothing but its weights: none quantised, rounded, parametrised or hooked."""
    parts = [layer.base_layer, *layer.lora_A.values(), *layer.lora_B.values()]
    return not layer.fan_in_fan_out and all(map(_is_plain_linear, parts))


def _is_plain_linear(module: nn.Module) -> bool:
    # A parametrised layer is of a class of its own; quantised weights are tensors of other types, or not of floats.
    if type(module) is not nn.Linear or type(module.weight.data) is not Tensor:
        return False
    return module.weight.is_floating_point() and not (module._forward_hooks or module._forward_pre_hooks)


class FastLoraLinear(PeftLoraLinear):
    """PEFT's LoRA layer with a shorter way for its common case."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Compute x Wᵀ + s (x Aᵀ) Bᵀ."""
        name = None if args or kwargs else self._only_adapter()
        if name is None:
            plain: Tensor = super().forward(x, *args, **kwargs)
            return plain
        base, first, second = self.base_layer, self.lora_A[name], self.lora_B[name]
        dtype = torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else x.dtype
        is_mixed = dtype == x.dtype and not torch.is_autocast_enabled(x.device.type) and first.weight.dtype != dtype
        if is_mixed or base.weight.requires_grad:
            plain = super().forward(x)
            return plain
        scaled = second.weight * self.scaling[name]
        apply: Any = _LoraProduct.apply
        result: Tensor = apply(x.to(dtype), base.weight, base.bias, first.weight, scaled)
        return result

    def _only_adapter(self) -> str | None:
        """Name the adapter when exactly one works, in the plain way."""
        if self.disable_adapters or self.merged or len(self.active_adapters) != 1:
            return None
        name = self.active_adapters[0]
        if name not in self.lora_A or name in self.lora_variant or self.lora_bias.get(name):
            return None
        dropout = self.lora_dropout[name]
        return name if isinstance(dropout, nn.Identity) or not dropout.training else None


class _LoraProduct(torch.autograd.Function):
    """Gradients reach the input and both added matrices; the base weight is frozen."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, first: Tensor, second: Tensor) -> Tensor:
        """Add the low-rank product into the base product."""
        rows_NI = x.reshape(-1, x.shape[-1])
        weight_OI, first_RI, second_OR = (part.to(x.dtype) for part in (weight, first, second))
        low_NR = rows_NI @ first_RI.t()
        base_NO = F.linear(rows_NI, weight_OI, None if bias is None else bias.to(x.dtype))
        ctx.save_for_backward(rows_NI, low_NR, weight, first, second)
        ctx.shape = x.shape
        return base_NO.addmm_(low_NR, second_OR.t()).view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Carry the gradient through both ways at once."""
        rows_NI, low_NR, weight, first, second = ctx.saved_tensors
        grad_NO = grad.reshape(-1, grad.shape[-1])
        grad_low_NR = grad_NO @ second.to(grad.dtype)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_NI = grad_NO @ weight.to(grad.dtype)
            grad_x = grad_NI.addmm_(grad_low_NR, first.to(grad.dtype)).view(ctx.shape)
        grad_first_RI = (grad_low_NR.t() @ rows_NI).to(first.dtype)
        grad_second_OR = (low_NR.t() @ grad_NO).t().to(second.dtype)  # the faster order on CPUs
        return grad_x, None, None, grad_first_RI, grad_second_OR
