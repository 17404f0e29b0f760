# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The loss that keeps the experts of a mixture evenly used, as the model's own code computes it (arXiv 2101.03961).

It is taken of each micro-batch and weighted by its share of the step's tokens. It is no sum over tokens: another split
of a step into micro-batches gives a slightly different value.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.core.errors import refusal
from tunesmith.models.anatomy import backbone, base_model

_FUNCTION = "load_balancing_loss_func"


class RouterBalance:
    """Asks the backbone for its router's logits while it is trained, and keeps the loss of the latest pass."""

    def __init__(self, model: nn.Module, *, coefficient: float) -> None:
        base: Any = base_model(model)
        self._function = _own_function(base)
        config = base.config.get_text_config()
        self._num_experts, self._top_k = int(base.num_experts), int(config.num_experts_per_tok)
        self._coefficient = coefficient
        self._mask_BT: Tensor | None = None
        self._latest: Tensor | None = None
        inner = backbone(model)
        inner.register_forward_pre_hook(self._ask, with_kwargs=True)
        inner.register_forward_hook(self._keep)

    def take(self) -> Tensor | float:
        """Give the weighted loss of the latest training pass, once."""
        latest, self._latest = self._latest, None
        return 0.0 if latest is None else self._coefficient * latest

    def _ask(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if not (module.training and torch.is_grad_enabled()):
            return None
        mask = kwargs.get("attention_mask")
        is_padded = kwargs.get("layout") is None and mask is not None and mask.ndim == 2
        self._mask_BT = mask if is_padded else None
        return args, {**kwargs, "output_router_logits": True}

    def _keep(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if module.training and torch.is_grad_enabled():
            self._latest = self._function(output.router_logits, self._num_experts, self._top_k, self._mask_BT)


def _own_function(base: nn.Module) -> Callable[..., Tensor]:
    code = vars(sys.modules[type(base).__module__])
    if _FUNCTION not in code or "num_experts" not in vars(base):
        raise _refused(base, "its code has no loss that balances experts")
    recorded: Any = getattr(backbone(base), "_can_record_outputs", None)
    if "router_logits" not in (recorded or {}):
        raise _refused(base, "its layers do not show what their routers computed")
    function: Callable[..., Tensor] = code[_FUNCTION]
    return function


def _refused(base: nn.Module, reason: str) -> Exception:
    config: Any = base_model(base).config
    return refusal(
        "model.experts_unbalanced",
        f"moe_aux_loss_coef cannot work on a model of type {config.model_type}: {reason}.",
        "Leave it out.",
        key="moe_aux_loss_coef",
    )
