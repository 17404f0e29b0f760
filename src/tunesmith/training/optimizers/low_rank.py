# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Projection of a gradient matrix onto few directions, renewed every so many steps; its state is one or two tensors."""

from typing import Any

import torch
from torch import Tensor


def project(grad_IO: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    """Give the gradient in the low-rank space; the directions are found anew every `update_proj_gap` steps."""
    side = projected_side(grad_IO, group["proj_type"])
    if "directions" not in state or state["step"] % group["update_proj_gap"] == 0:
        state["directions"] = _directions(grad_IO, state, group, side)
    left_IR, right_RO = _sides(state["directions"], side)
    if left_IR is not None:
        grad_IO = left_IR.T @ grad_IO
    return grad_IO if right_RO is None else grad_IO @ right_RO.T


def project_back(low_rank: Tensor, grad_IO: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    """Give a low-rank step in the space of the weight."""
    left_IR, right_RO = _sides(state["directions"], projected_side(grad_IO, group["proj_type"]))
    if left_IR is not None:
        low_rank = left_IR @ low_rank
    return low_rank if right_RO is None else low_rank @ right_RO


def _sides(directions: Any, side: str) -> tuple[Tensor | None, Tensor | None]:
    if side == "full":
        return directions[0], directions[1]
    return (directions, None) if side == "left" else (None, directions)


def projected_side(grad_IO: Tensor, kind: str) -> str:
    """Say on which side a matrix is projected: std takes the shorter one, reverse_std the longer."""
    if kind in ("left", "right", "full"):
        return kind
    is_tall = grad_IO.shape[0] >= grad_IO.shape[1]
    return "right" if is_tall == (kind == "std") else "left"


def _directions(grad_IO: Tensor, state: dict[str, Any], group: dict[str, Any], side: str) -> Any:
    rank = group["rank"]
    if group["proj"] == "random":
        return _random_directions(grad_IO, rank, state["seed"] + state["step"], side)
    left, _, right = torch.linalg.svd(grad_IO.float(), full_matrices=False)
    # Contiguous as after a resume: another layout in memory would round matrix products otherwise.
    left, right = (part.to(grad_IO.dtype).contiguous() for part in (left[:, :rank], right[:rank]))
    return {"left": left, "right": right, "full": (left, right)}[side]


def _random_directions(grad_IO: Tensor, rank: int, seed: int, side: str) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (rank, grad_IO.shape[1]) if side == "right" else (grad_IO.shape[0], rank)
    directions: Tensor = torch.randn(shape, generator=generator) / float(rank) ** 0.5
    return directions.to(grad_IO)
