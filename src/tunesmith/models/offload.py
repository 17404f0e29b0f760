# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Activations in the CPU's memory between forward and backward pass; weights, which are needed anyway, stay put."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

# Smaller ones cost more time than they save room.
_SMALLEST_BYTES = 2**18


class ActivationOffload:
    """Moves what autograd keeps to the CPU and back; with gradient checkpointing that is the inputs of the layers."""

    def __init__(self, model: nn.Module, *, smallest_bytes: int = _SMALLEST_BYTES) -> None:
        self._weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
        self._smallest = smallest_bytes
        self.num_bytes = 0  # moved by the latest forward pass

    @contextmanager
    def active(self) -> Iterator[None]:
        """Offload what is kept inside; the way back works at any time after."""
        self.num_bytes = 0
        with torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack):
            yield

    def _pack(self, tensor: Tensor) -> tuple[torch.device, Tensor]:
        size = tensor.numel() * tensor.element_size()
        if size < self._smallest or tensor.untyped_storage().data_ptr() in self._weights:
            return tensor.device, tensor
        self.num_bytes += size
        is_pinned = tensor.device.type == "cuda"
        kept = torch.empty(tensor.size(), dtype=tensor.dtype, device="cpu", pin_memory=is_pinned)
        kept.copy_(tensor, non_blocking=is_pinned)
        return tensor.device, kept

    @staticmethod
    def _unpack(packed: tuple[torch.device, Tensor]) -> Tensor:
        device, kept = packed
        return kept if kept.device == device else kept.to(device, non_blocking=True)
