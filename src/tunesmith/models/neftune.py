# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""NEFTune: uniform noise on the embeddings while training (arXiv 2310.05914).

Each number gets alpha / sqrt(L·D) times a draw from [-1, 1]; L is the length of its own sequence, without padding and
without the neighbours it is packed with. Draws come from torch's generator, which checkpoints hold.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tunesmith.core.types import NO_PARENT, ForestLayout
from tunesmith.models.anatomy import backbone, base_model


class Neftune:
    """Hooks on the backbone, which knows the lengths, and on the embedding, which takes the noise."""

    def __init__(self, model: nn.Module, *, alpha: float) -> None:
        self._alpha = alpha
        self._lengths_BT: Tensor | None = None
        embedding: Any = base_model(model).get_input_embeddings()
        self._handles = [
            backbone(model).register_forward_pre_hook(self._note, with_kwargs=True),
            embedding.register_forward_hook(self._disturb),
        ]

    def remove(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()

    def _note(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        ids = kwargs.get("input_ids")
        self._lengths_BT = None
        if module.training and ids is not None:
            self._lengths_BT = sequence_lengths(ids, kwargs.get("attention_mask"), kwargs.get("layout"))

    def _disturb(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        lengths_BT, self._lengths_BT = self._lengths_BT, None
        if not module.training or lengths_BT is None:
            return None
        size_BT1 = self._alpha / (lengths_BT.to(output.dtype) * output.shape[-1]).sqrt()[..., None]
        return output + torch.empty_like(output).uniform_(-1, 1) * size_BT1


def sequence_lengths(ids_BT: Tensor, mask_BT: Tensor | None, layout: ForestLayout | None) -> Tensor:
    """Give the length of the sequence that each token belongs to; a shared prompt counts with its longest answer."""
    if layout is not None:
        spans = [end - start for start, end in zip(layout.starts, layout.ends, strict=True)]
        lengths = np.repeat(_path_lengths(layout, spans), spans)
        return torch.from_numpy(lengths).to(ids_BT.device)[None]
    if mask_BT is None or mask_BT.ndim != 2:
        return torch.full_like(ids_BT, ids_BT.shape[1])
    return mask_BT.sum(dim=1, keepdim=True).clamp(min=1).expand_as(ids_BT)


def _path_lengths(layout: ForestLayout, spans: list[int]) -> list[int]:
    longest = [layout.depth(segment) + spans[segment] for segment in range(len(spans))]
    for segment in reversed(range(len(spans))):  # children come after their parents
        parent = layout.parents[segment]
        if parent != NO_PARENT:
            longest[parent] = max(longest[parent], longest[segment])
    return longest
