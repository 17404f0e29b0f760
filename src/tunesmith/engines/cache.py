# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Keys and values of past tokens in memory reserved ahead, handed out as views of the part in use.

transformers' own static cache attends over all reserved places, its dynamic one copies everything at every token.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedConfig
from transformers.cache_utils import CacheLayerMixin

# Layers whose past is keys and values of single tokens; others (recurrent states) keep transformers' own cache.
_ATTENTION_LAYERS = {"full_attention", "sliding_attention"}


class ReservedLayer(CacheLayerMixin):
    """One layer's past. Sliding windows are left to the attention mask, so nothing is thrown away."""

    is_sliding = False

    def __init__(self, capacity: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._capacity = capacity
        self._length = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Reserve memory in the shape, type and place of the first tokens."""
        self.keys = _reserve(key_states, self._capacity)
        self.values = _reserve(value_states, self._capacity)
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Store new tokens and give all so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None
        end = self._length + key_states.shape[2]
        if end > self.keys.shape[2]:
            self.keys, self.values = (_grow(held, self._length, end) for held in (self.keys, self.values))
        self.keys[:, :, self._length : end] = key_states
        self.values[:, :, self._length : end] = value_states
        self._length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Give how many keys the next tokens see, and where they begin."""
        return self._length + query_length, 0

    def get_seq_length(self) -> int:
        """Count the tokens stored."""
        return self._length

    def get_max_length(self) -> int:
        """Give -1: the layer grows when its memory is used up."""
        return -1

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep some rows of the batch."""
        if self.keys is not None and self.values is not None:
            self.keys, self.values = self.keys[indices], self.values[indices]


def build_cache(config: PreTrainedConfig, capacity: int) -> Cache:
    """Make the cache of a model for rows of up to `capacity` tokens (more makes it grow)."""
    text_config: Any = config.get_text_config(decoder=True)
    kinds = set(getattr(text_config, "layer_types", None) or ["full_attention"])
    if not kinds <= _ATTENTION_LAYERS:
        return DynamicCache(config=config)
    return Cache(layers=[ReservedLayer(capacity) for _ in range(text_config.num_hidden_layers)])


def bytes_per_token(config: PreTrainedConfig, dtype: torch.dtype) -> int:
    """Estimate the memory of one row's token in all layers."""
    text_config: Any = config.get_text_config(decoder=True)
    # Some types have layers of different widths (Gemma 4), which their configuration only tells layer by layer.
    layers = list(getattr(text_config, "per_layer_config", None) or [text_config] * text_config.num_hidden_layers)
    return int(2 * sum(_kept_width(layer) for layer in layers) * dtype.itemsize)


def _kept_width(layer: Any) -> int:
    heads = getattr(layer, "num_attention_heads", None)
    if heads is None:  # a recurrent layer keeps about one state
        return int(layer.hidden_size)
    kept = getattr(layer, "num_key_value_heads", None) or heads
    return int(kept * (getattr(layer, "head_dim", None) or layer.hidden_size // heads))


def _reserve(states: Tensor, capacity: int) -> Tensor:
    batch, heads, length, width = states.shape
    return states.new_zeros((batch, heads, max(capacity, length), width))


def _grow(held: Tensor, length: int, needed: int) -> Tensor:
    batch, heads, capacity, width = held.shape
    larger = held.new_zeros((batch, heads, max(needed, 2 * capacity), width))
    larger[:, :, :length] = held[:, :, :length]
    return larger
