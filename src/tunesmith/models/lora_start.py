# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""LoRA starts taken from the base weights: PiSSA (arXiv 2404.02948) and OLoRA (arXiv 2406.01775).

They train from factors of the weight instead of from zero, W + s·(B·A - B0·A0), where B0·A0 is the start, and so do
those of `learned_start`. The papers subtract it from the base weight; here a second, frozen adapter does, so that the
base model stays as it is, nothing is rounded into it, and the saved adapter (both in one, of twice the rank) loads on
the original base model everywhere.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from tunesmith.core.errors import refusal
from tunesmith.models.adapter_files import ADAPTER, adapter_tensors, copy_tensors, read_adapter_weights, write_adapter
from tunesmith.models.quantizers.base import full_weight_OI

START = "start"
_A, _B = ".lora_A.weight", ".lora_B.weight"


@dataclass(frozen=True, kw_only=True)
class StartRule:
    """Which factors a run starts from; `iterations` of the randomised decomposition, -1 for the exact one."""

    kind: Literal["pissa", "olora"]
    iterations: int


def add_start(model: PeftModel, config: LoraConfig, rule: StartRule | None) -> None:
    """Give a fresh adapter its start, and add the frozen one that cancels it; without a rule both add nothing yet."""
    model.add_adapter(START, replace(config, lora_dropout=0.0, modules_to_save=None, inference_mode=True))
    for name, layer in lora_layers(model):
        if rule is not None:
            _start_layer(name, layer, rule)
    activate_start(model)


@torch.no_grad()
def set_start(layer: Any, *, right_RI: Tensor, left_OR: Tensor | None) -> None:
    """Set a layer's first factors, and the frozen ones that cancel them; without `left_OR` B stays zero."""
    _copy(layer.lora_A[ADAPTER].weight, right_RI)
    if left_OR is None:
        return
    _copy(layer.lora_B[ADAPTER].weight, left_OR)
    _copy(layer.lora_A[START].weight, layer.lora_A[ADAPTER].weight)
    _copy(layer.lora_B[START].weight, -layer.lora_B[ADAPTER].weight)


def _copy(weight: Tensor, value: Tensor) -> None:
    weight.copy_(value.to(weight.dtype))


def has_start(model: nn.Module) -> bool:
    """Say whether a model trains from a start taken from its base weights."""
    return isinstance(model, PeftModel) and START in model.peft_config


def activate_start(model: nn.Module) -> None:
    """Let both adapters work and only the trained one train; PEFT forgets it whenever adapters are switched."""
    assert isinstance(model, PeftModel)
    for _, layer in lora_layers(model):
        layer.set_adapter([ADAPTER, START])
        for weight in (layer.lora_A[START].weight, layer.lora_B[START].weight):
            weight.requires_grad_(False)


def start_tensors(model: PeftModel) -> dict[str, Tensor]:
    """Give the frozen adapter's tensors under their names on disk."""
    return {name: value for name, value in adapter_tensors(model, START).items() if name.endswith((_A, _B))}


def save_with_start(model: PeftModel, folder: Path) -> None:
    """Write both adapters as one, which loads on the original base model."""
    joined = join(adapter_tensors(model), start_tensors(model))
    write_adapter(joined, joined_config(model.peft_config[ADAPTER]), folder)


def restore_with_start(model: PeftModel, folder: Path) -> None:
    """Copy what `save_with_start` wrote back into both adapters."""
    start = start_tensors(model)
    tensors = adapter_tensors(model)
    values = read_adapter_weights(folder)
    copy_tensors(values, join(tensors, start), folder)  # refuses what was trained on another model
    trained, first = split(values, start)
    copy_tensors(trained, tensors, folder)
    copy_tensors(first, start, folder)


def join(tensors: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put the tensors of an adapter and of its frozen start together as one adapter of twice the rank."""
    joined = dict(tensors)
    for name, value in start.items():
        joined[name] = torch.cat([tensors[name], value], dim=0 if name.endswith(_A) else 1)
    return joined


def split(values: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Undo `join`: give the trained tensors and those of the start."""
    trained, first = dict(values), {}
    for name in start:
        dim = 0 if name.endswith(_A) else 1
        trained[name], first[name] = (part.contiguous() for part in values[name].chunk(2, dim=dim))
    return trained, first


def joined_config(config: Any) -> Any:
    """Describe the joined adapter: twice the rank at the same scale."""
    growth = 2**0.5 if config.use_rslora else 2

    def grown(alpha: Any) -> Any:
        return alpha * growth

    return replace(
        config,
        r=2 * config.r,
        lora_alpha=grown(config.lora_alpha),
        rank_pattern={name: 2 * rank for name, rank in (config.rank_pattern or {}).items()},
        alpha_pattern={name: grown(alpha) for name, alpha in (config.alpha_pattern or {}).items()},
    )


def lora_layers(model: PeftModel) -> Iterator[tuple[str, Any]]:
    """List the layers that have LoRA's matrices, in the model's order."""
    return ((name, layer) for name, layer in model.named_modules() if isinstance(layer, LoraLayer))


@torch.no_grad()
def _start_layer(name: str, layer: Any, rule: StartRule) -> None:
    base = layer.get_base_layer()
    if isinstance(base, nn.Embedding):
        raise start_refused(name, "it is an embedding, and the start is taken from linear layers")
    weight_OI = base.weight.T if layer.fan_in_fan_out else full_weight_OI(base)
    rank = layer.r[ADAPTER]
    if rank > min(weight_OI.shape):
        raise start_refused(name, f"its shape {tuple(weight_OI.shape)} has no {rank} directions")
    if weight_OI.device.type == "meta":
        return
    left_OR, right_RI = starting_factors(weight_OI.float(), rank, rule, scale=layer.scaling[ADAPTER])
    set_start(layer, right_RI=right_RI, left_OR=left_OR)


def starting_factors(weight_OI: Tensor, rank: int, rule: StartRule, *, scale: float) -> tuple[Tensor, Tensor]:
    """Factor a weight: PiSSA takes its largest singular directions, OLoRA the first ones of its QR decomposition."""
    if rule.kind == "olora":
        left, right = torch.linalg.qr(weight_OI)
        return left[:, :rank], right[:rank]
    if rule.iterations < 0:
        left, sizes, right = torch.linalg.svd(weight_OI, full_matrices=False)
    else:
        left, sizes, right_IR = torch.svd_lowrank(weight_OI, rank, niter=rule.iterations)
        right = right_IR.T
    root = (sizes[:rank] / scale).sqrt()
    return left[:, :rank] * root, root[:, None] * right[:rank]


def start_refused(name: str, reason: str) -> Exception:
    """Say why a layer cannot begin as asked."""
    return refusal(
        "tuner.start_impossible",
        f"The adapter of {name.removeprefix('base_model.model.')} cannot begin as asked: {reason}.",
        "Leave it out of lora_target, lower lora_rank, or leave out pissa_init and init_lora_weights.",
        key="lora_target",
    )
