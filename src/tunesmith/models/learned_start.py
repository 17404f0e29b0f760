# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""LoRA starts that read rows of the run before the first step: EVA, LoRA-GA and CorDA.

EVA (arXiv 2410.07170) lets A begin with the directions in which a layer's inputs vary most and gives more rank where
they explain more; B begins at zero. LoRA-GA (2407.05000) takes both factors from the gradient of the weight, CorDA
(2406.05223, its instruction-previewed mode) from the weight as the inputs see it; what they add at the start is
subtracted by the frozen adapter of `lora_start`, so the base model stays as it is. The mathematics are the authors';
PEFT 0.21 multiplies LoRA-GA's B by the singular values of the gradient, which neither paper nor authors' code does.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from peft import PeftModel
from peft.utils.incremental_pca import IncrementalPCA
from torch import Tensor, nn

from tunesmith.core.errors import refusal
from tunesmith.core.types import Batch
from tunesmith.models.adapter_files import ADAPTER
from tunesmith.models.layer_statistics import Inputs, Loss, weight_gradients
from tunesmith.models.lora_start import lora_layers, set_start, start_refused
from tunesmith.models.quantizers.base import full_weight_OI

RANKS = "start_ranks"
_DAMPING = 0.01
Direction = Literal["ArB2r", "A2rBr", "ArBr", "random"]
Scale = Literal["stable", "gd", "unit", "weightS"]


class LearnedStart(ABC):
    """One way to begin; `subtracts` says that what it adds at the start is to be taken away by a frozen adapter."""

    subtracts = True

    @abstractmethod
    def learn(self, model: PeftModel, batches: Iterable[Batch], loss: Loss) -> Mapping[str, Any]:
        """Set the first values; gives what a resumed run must know before it takes its values back."""

    def check(self, model: PeftModel) -> None:
        """Refuse layers that cannot begin this way."""
        for name, layer in lora_layers(model):
            base = layer.get_base_layer()
            if isinstance(base, nn.Embedding):
                raise start_refused(name, "it is an embedding, and the start is taken from linear layers")
            self._check_layer(name, layer.r[ADAPTER], min(layer.in_features, layer.out_features))

    def _check_layer(self, name: str, rank: int, width: int) -> None:
        if rank > width:
            raise start_refused(name, f"its narrower side of {width} has no {rank} directions")


@dataclass(frozen=True, kw_only=True)
class Eva(LearnedStart):
    """A begins with the principal directions of a layer's inputs at the scored positions, B with zero.

    A layer has at most `rho` times its rank, and at least 1; the sum of all ranks stays as it is.
    """

    rho: float
    subtracts = False

    def learn(self, model: PeftModel, batches: Iterable[Batch], loss: Loss) -> Mapping[str, Any]:
        layers = dict(lora_layers(model))
        most = {name: min(round(layer.r[ADAPTER] * self.rho), layer.in_features) for name, layer in layers.items()}
        found = _Components(max(most.values()))
        inputs = Inputs(layers, found.add)
        inputs.read(batches, loss, kept=lambda batch: batch.source_index_N.unique())
        directions = {name: found.directions(owner) for name, owner in inputs.same_as.items()}
        seen = {name: pair for name, pair in directions.items() if pair is not None}
        if not seen:
            raise refusal(
                "tuner.start_impossible",
                f"The rows of start_rows have fewer than {max(most.values())} trained tokens, too few to find as many "
                "directions in them.",
                "Raise start_rows, or lower lora_rank or eva_rho.",
                key="start_rows",
            )
        ranks = spread_ranks(
            {name: layer.r[ADAPTER] for name, layer in layers.items()},
            {name: shares[: most[name]].tolist() for name, (_, shares) in seen.items()},
        )
        set_ranks(model, list(ranks.values()))
        for name, layer in lora_layers(model):
            if name in seen:
                set_start(layer, right_RI=seen[name][0][: ranks[name]], left_OR=None)
        return {RANKS: list(ranks.values())}


class _Components:
    """Principal directions of what several layers read, found batch by batch."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._fits: dict[str, IncrementalPCA] = {}
        self._waiting: dict[str, list[Tensor]] = {}

    def add(self, name: str, rows: Tensor) -> None:
        waiting = self._waiting.setdefault(name, [])
        waiting.append(rows)
        count = min(self._count, rows.shape[1])
        if sum(map(len, waiting)) < count:
            return
        if name not in self._fits:
            enough = min(2 * count, rows.shape[1])
            self._fits[name] = IncrementalPCA(count, lowrank=True, lowrank_q=enough, lowrank_seed=0)
        self._fits[name].partial_fit(torch.cat(waiting))
        waiting.clear()

    def directions(self, name: str) -> tuple[Tensor, Tensor] | None:
        """Give the directions, [count, width], and which share of the variance each explains; the largest first."""
        fit: Any = self._fits.get(name)
        return None if fit is None else (fit.components_, fit.explained_variance_ratio_)


def spread_ranks(ranks: Mapping[str, int], shares: Mapping[str, Sequence[float]]) -> dict[str, int]:
    """Give the ranks of the layers with shares to the directions that explain most; each layer keeps one."""
    spread = {name: 1 if name in shares else rank for name, rank in ranks.items()}
    budget = sum(ranks[name] for name in shares) - len(shares)
    further = [(-share, place, name) for name, row in shares.items() for place, share in enumerate(row) if place]
    for _, _, name in sorted(further, key=lambda item: item[:1])[:budget]:  # stable: ties in the model's order
        spread[name] += 1
    return spread


def set_ranks(model: PeftModel, ranks: Sequence[int]) -> None:
    """Give the layers other ranks at the same scale, in the model's order, and note it in the configuration."""
    config: Any = model.peft_config[ADAPTER]
    plain = replace(config, init_lora_weights=True)
    config.rank_pattern, config.alpha_pattern = {}, {}
    for (name, layer), rank in zip(lora_layers(model), ranks, strict=True):
        short = name.removeprefix("base_model.model.")
        before = layer.r[ADAPTER]
        growth = math.sqrt(rank / before) if config.use_rslora else rank / before
        alpha = layer.lora_alpha[ADAPTER] * growth
        if rank != before:
            layer.update_layer(ADAPTER, r=rank, lora_alpha=alpha, config=plain)
        config.rank_pattern[short], config.alpha_pattern[short] = rank, alpha


@dataclass(frozen=True, kw_only=True)
class LoraGa(LearnedStart):
    """Both factors begin with singular directions of the weight's gradient over the rows."""

    direction: Direction
    scale: Scale
    gamma: float

    def _check_layer(self, name: str, rank: int, width: int) -> None:
        if 2 * rank > width:
            raise start_refused(name, f"lora_ga takes twice lora_rank, {2 * rank} directions of its {width}")

    def learn(self, model: PeftModel, batches: Iterable[Batch], loss: Loss) -> Mapping[str, Any]:
        layers = dict(lora_layers(model))
        gradients = weight_gradients(layers, batches, loss)
        model.zero_grad(set_to_none=True)
        for name, layer in layers.items():
            gradient_OI = gradients.pop(name)
            if bool(gradient_OI.any()):  # an expert that no row reached begins as plain LoRA does
                left_OR, right_RI = self.factors(gradient_OI, layer)
                set_start(layer, right_RI=right_RI, left_OR=left_OR)
        return {}

    def factors(self, gradient_OI: Tensor, layer: Any) -> tuple[Tensor, Tensor]:
        """Take two sets of singular directions and scale both alike."""
        rank, size = layer.r[ADAPTER], layer.scaling[ADAPTER]
        left, _, right = torch.svd_lowrank(gradient_OI, q=min(4 * rank, *gradient_OI.shape), niter=4)
        of_left, of_right = self._places(rank)
        factor = self._factor(gradient_OI.shape[0], layer, rank, size)
        return left[:, of_left] * factor, right.t()[of_right] * factor

    def _places(self, rank: int) -> tuple[Any, Any]:
        if self.direction == "random":
            mixed = torch.randperm(2 * rank)
            return mixed[rank:], mixed[:rank]
        first, second = slice(0, rank), slice(rank, 2 * rank)
        even, odd = slice(0, 2 * rank, 2), slice(1, 2 * rank, 2)
        places = {"ArB2r": (second, first), "A2rBr": (first, second), "ArBr": (even, odd)}
        return places[self.direction]

    def _factor(self, num_outputs: int, layer: Any, rank: int, size: float) -> float:
        if self.scale == "stable":
            return float(num_outputs**0.25 / self.gamma**0.5)
        if self.scale == "weightS":
            _, sizes, _ = torch.svd_lowrank(_weight_OI(layer), q=min(4 * rank, layer.in_features), niter=4)
            return float((sizes[:rank] / size).sqrt().mean())
        return 1.0 / size if self.scale == "gd" else 1.0


@dataclass(frozen=True, kw_only=True)
class Corda(LearnedStart):
    """Both factors begin with the largest directions of W·C, C the second moment of a layer's inputs over the rows."""

    iterations: int

    def learn(self, model: PeftModel, batches: Iterable[Batch], loss: Loss) -> Mapping[str, Any]:
        layers = dict(lora_layers(model))
        moments: dict[str, Tensor] = {}

        def add(name: str, rows: Tensor) -> None:
            if name not in moments:
                moments[name] = torch.zeros(rows.shape[1], rows.shape[1], device=rows.device)
            moments[name].addmm_(rows.t(), rows)

        inputs = Inputs(layers, add)
        inputs.read(batches, loss, kept=_filled)
        for name, layer in layers.items():
            moment_II = moments.get(inputs.same_as.get(name, name))
            if moment_II is not None:
                left_OR, right_RI = self.factors(_weight_OI(layer), moment_II, layer)
                set_start(layer, right_RI=right_RI, left_OR=left_OR)
        return {}

    def factors(self, weight_OI: Tensor, moment_II: Tensor, layer: Any) -> tuple[Tensor, Tensor]:
        """Decompose W·C and take C away again: U·√S and √S·Vᵀ·C⁻¹, which give W where all directions are taken."""
        rank, mean = layer.r[ADAPTER], moment_II.diagonal().mean()
        damped = (moment_II / mean + _DAMPING * torch.eye(len(moment_II), device=moment_II.device)).double()
        seen_OI = weight_OI.double() @ damped
        if self.iterations < 0:
            left, sizes, right = torch.linalg.svd(seen_OI, full_matrices=False)
        else:
            enough = min(rank + 8, *seen_OI.shape)
            left, sizes, right_IR = torch.svd_lowrank(seen_OI, q=enough, niter=self.iterations)
            right = right_IR.t()
        root = (sizes[:rank] / layer.scaling[ADAPTER]).sqrt()
        back_RI = torch.linalg.solve(damped, right[:rank].t()).t()
        return (left[:, :rank] * root).float(), (root[:, None] * back_RI).float()


def _weight_OI(layer: Any) -> Tensor:
    base = layer.get_base_layer()
    return base.weight.t().float() if layer.fan_in_fan_out else full_weight_OI(base)


def _filled(batch: Batch) -> Tensor:
    """List the positions that are no padding."""
    if batch.attention_mask_BT is None:
        return torch.arange(batch.input_ids_BT.numel(), device=batch.input_ids_BT.device)
    return batch.attention_mask_BT.reshape(-1).nonzero()[:, 0]
