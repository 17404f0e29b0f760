# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Puts the training aids on a model, by the section that asks for them."""

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tunesmith.config.sections.aids import AidsSection
from tunesmith.core.optional import has_package, import_optional
from tunesmith.core.progress import say
from tunesmith.core.types import Batch
from tunesmith.models.anatomy import base_model
from tunesmith.models.float8 import use_float8
from tunesmith.models.neftune import Neftune
from tunesmith.models.offload import ActivationOffload
from tunesmith.models.router_balance import RouterBalance


@dataclass(frozen=True, kw_only=True)
class TrainingAids:
    """What accompanies the forward passes of training."""

    balance: RouterBalance | None = None
    offload: ActivationOffload | None = None

    def around_loss(self) -> AbstractContextManager[None]:
        """Enter what must be active while a loss is computed."""
        return contextlib.nullcontext() if self.offload is None else self.offload.active()

    def extra_loss(self, batch: Batch, step: Sequence[Batch]) -> Tensor | float:
        """Give what one micro-batch adds to the loss of its step, beside the objective."""
        if self.balance is None:
            return 0.0
        return self.balance.take() * (batch.num_tokens / sum(other.num_tokens for other in step))


def attach_aids(model: nn.Module, aids: AidsSection, *, device: torch.device) -> TrainingAids:
    """Attach noise, balance, offloading, kernels and formats to a model that is ready to train."""
    if aids.fp8:
        say(f"fp8: {len(use_float8(model))} linear layers multiply in 8-bit floats.")
    if aids.neftune_noise_alpha:
        Neftune(model, alpha=aids.neftune_noise_alpha)
    if aids.upcast_layernorm:
        upcast_norms(model)
    if aids.enable_liger_kernel and can_use_liger(device):
        _use_liger(model, aids)
    if aids.print_param_status:
        for line in listing(model):
            say(line)
    is_offloading = (aids.use_unsloth_gc or aids.activation_offloading) and device.type != "cpu"
    coefficient = aids.moe_aux_loss_coef
    return TrainingAids(
        balance=RouterBalance(model, coefficient=coefficient) if coefficient else None,
        offload=ActivationOffload(model) if is_offloading else None,
    )


def upcast_norms(model: nn.Module) -> None:
    """Hold the vectors of norms in float32; mixed precision then computes with them so."""
    for name, weight in model.named_parameters():
        if weight.ndim == 1 and "norm" in name and weight.dtype != torch.float32:
            weight.data = weight.data.float()


def can_use_liger(device: torch.device) -> bool:
    """Say whether Liger's kernels, which are Triton's, work here."""
    return device.type == "cuda" and has_package("liger_kernel")


def _use_liger(model: nn.Module, aids: AidsSection) -> None:
    liger = import_optional("liger_kernel.transformers", extra="kernels", needed_for="enable_liger_kernel")
    # The fused losses stay off: log-probs come from one place only.
    kernels = {**(aids.liger_kernel_config or {}), "fused_linear_cross_entropy": False, "cross_entropy": False}
    liger._apply_liger_kernel_to_instance(model=base_model(model), **kernels)


def listing(model: nn.Module) -> list[str]:
    """Write one line for each weight."""
    return [
        f"{name}: {str(weight.dtype).removeprefix('torch.')} {tuple(weight.shape)} on {weight.device}, "
        f"{'trained' if weight.requires_grad else 'frozen'}"
        for name, weight in model.named_parameters()
    ]
