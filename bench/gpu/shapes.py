# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Real configurations, so that random weights of them are made without a network; and the stated peaks of GPUs."""

from typing import Any

from transformers import LlamaConfig, PreTrainedConfig, Qwen3Config

_QWEN3 = {"vocab_size": 151_936, "head_dim": 128, "num_key_value_heads": 8, "rms_norm_eps": 1e-6}
_LLAMA3 = {"vocab_size": 128_256, "num_attention_heads": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-5}

_SHAPES: dict[str, tuple[type[PreTrainedConfig], dict[str, Any]]] = {
    "smoke": (
        Qwen3Config,
        {
            "vocab_size": 2048,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "tie_word_embeddings": True,
        },
    ),
    "smollm2-135m": (
        LlamaConfig,
        {
            "vocab_size": 49_152,
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "head_dim": 64,
            "tie_word_embeddings": True,
            "rope_theta": 1e5,
        },
    ),
    "qwen3-0.6b": (
        Qwen3Config,
        {
            **_QWEN3,
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "tie_word_embeddings": True,
            "rope_theta": 1e6,
        },
    ),
    "llama3.2-1b": (
        LlamaConfig,
        {
            **_LLAMA3,
            "hidden_size": 2048,
            "intermediate_size": 8192,
            "num_hidden_layers": 16,
            "head_dim": 64,
            "tie_word_embeddings": True,
            "rope_theta": 5e5,
        },
    ),
    "qwen3-4b": (
        Qwen3Config,
        {
            **_QWEN3,
            "hidden_size": 2560,
            "intermediate_size": 9728,
            "num_hidden_layers": 36,
            "num_attention_heads": 32,
            "tie_word_embeddings": True,
            "rope_theta": 1e6,
        },
    ),
    "llama3.1-8b": (
        LlamaConfig,
        {
            **_LLAMA3,
            "hidden_size": 4096,
            "intermediate_size": 14_336,
            "num_hidden_layers": 32,
            "head_dim": 128,
            "tie_word_embeddings": False,
            "rope_theta": 5e5,
        },
    ),
}
NAMES = tuple(_SHAPES)

# Dense bfloat16 peak in TFLOP/s as the makers state it, by a part of the device's name.
PEAKS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0, "L4": 121.0, "4090": 165.2, "3090": 71.0}


def build_config(name: str) -> PreTrainedConfig:
    """Give the configuration of a name."""
    kind, values = _SHAPES[name]
    return kind(**values, max_position_embeddings=8192, pad_token_id=0, bos_token_id=1, eos_token_id=2)


def stated_peak(device_name: str) -> float | None:
    """Give the stated peak of a device, or None where it is not listed."""
    return next((peak for part, peak in PEAKS.items() if part in device_name), None)
