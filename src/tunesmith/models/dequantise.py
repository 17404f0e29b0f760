# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Turns a quantised model into a plain float32 one with the weights it computes with, for merging and comparing."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from tunesmith.models.anatomy import base_model
from tunesmith.models.quantizers.base import Quantizer, forget_quantisation, quantised_layers
from tunesmith.models.tuners.base import Tuner


@torch.no_grad()
def dequantise(model: PreTrainedModel) -> PreTrainedModel:
    """Exchange every quantised layer for a plain one with the weights its forward uses, in place, in float32."""
    for name, module, quantizer in list(quantised_layers(model)):
        model.set_submodule(name, _plain_layer(module, quantizer))
    forget_quantisation(model)
    model.float()
    return model


@torch.no_grad()
def widen(model: nn.Module) -> nn.Module:
    """Let a quantised model, adapted or not, compute in float32; layers that cannot become plain ones."""
    for name, module, quantizer in list(quantised_layers(model)):
        if not quantizer.widen(module):
            model.set_submodule(name, _plain_layer(module, quantizer))
    for parameter in model.parameters():
        if parameter.dtype in (torch.bfloat16, torch.float16):
            parameter.data = parameter.data.float()
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.dtype in (torch.bfloat16, torch.float16):
                module.register_buffer(name, buffer.float(), persistent=False)
    base_model(model).config.dtype = torch.float32
    return model


def merge_dequantised(tuner: Tuner, model: nn.Module, plain: PreTrainedModel) -> PreTrainedModel:
    """Merge what was trained on a quantised base into `plain`, the dequantised base, which is used up."""
    with tempfile.TemporaryDirectory() as place:
        tuner.save(model, Path(place))
        return tuner.merge(tuner.load(plain, Path(place), is_trainable=False))


def _plain_layer(module: Any, quantizer: Quantizer) -> nn.Module:
    weight_OI = quantizer.weight_OI(module)
    bias = None if module.bias is None else module.bias.detach().float()
    outputs, inputs = weight_OI.shape
    is_transposed = module.__dict__.get("source_cls") is Conv1D  # bitsandbytes' layers keep what they replaced
    with torch.device("meta"):
        layer: Any = Conv1D(outputs, inputs) if is_transposed else nn.Linear(inputs, outputs, bias=bias is not None)
    layer.weight = _frozen(weight_OI.T.contiguous() if is_transposed else weight_OI)
    if bias is not None:
        layer.bias = _frozen(bias)
    assert isinstance(layer, nn.Module)
    return layer


def _frozen(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values, requires_grad=False)
