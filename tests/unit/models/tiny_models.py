# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Tiny random models of many families, with weights large enough that a wrong mask shows in the logits."""

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from tunesmith.models.attention.forest import FOREST

VOCABULARY = 96
WINDOW = 5

_SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "initializer_range": 0.15,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_ALTERNATING = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}

FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama_biased": {"model_type": "llama", "attention_bias": True, "tie_word_embeddings": True},
    "mistral": {"sliding_window": WINDOW},
    "qwen2": {**_ALTERNATING, "use_sliding_window": True},
    "qwen3": {},
    "gemma": {},
    "gemma2": {
        **_ALTERNATING,
        "query_pre_attn_scalar": 8,
        "attn_logit_softcapping": 2.0,
        "final_logit_softcapping": 3.0,
    },
    "gemma3_text": {**_ALTERNATING, "query_pre_attn_scalar": 8},
    "phi3": {"sliding_window": WINDOW},
    "smollm3": {"no_rope_layers": [1, 0, 1]},
    "granite": {"logits_scaling": 2.0, "attention_multiplier": 0.3, "residual_multiplier": 0.5},
    "olmo2": {},
}

_EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}
_LATENT = {
    "q_lora_rank": 16,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "num_key_value_heads": 4,
}

# Families whose rows are padded: fused projections, experts, latent attention, attention sinks.
PADDED_FAMILIES: dict[str, dict[str, Any]] = {
    "glm4": {},
    "internlm3": {},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen3_moe": {"num_experts": 4, **_EXPERTS},
    "deepseek_v3": {
        "n_routed_experts": 4,
        "first_k_dense_replace": 1,
        "n_group": 1,
        "topk_group": 1,
        **_EXPERTS,
        **_LATENT,
    },
    "gpt_oss": {
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        **_ALTERNATING,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    },
}


def tiny_model(family: str, *, attention: str = FOREST, dtype: torch.dtype = torch.float32, **changes: Any) -> Any:
    """Build the family's tiny model with the same weights at every call, in training mode, without dropout."""
    settings = {"model_type": family, **_SHAPE, **FAMILIES.get(family, PADDED_FAMILIES.get(family, {})), **changes}
    config = AutoConfig.for_model(**settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any = AutoModelForCausalLM.from_config(config, attn_implementation=attention)
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:  # norms and biases start as ones and zeros, which hides mistakes
                torch.nn.init.normal_(parameter, mean=float("norm" in name), std=0.1)
    return model.to(dtype)


def own_attention(family: str) -> str:
    """Name transformers' own implementation for a family: sdpa, or eager with soft-capped scores or sinks."""
    return "eager" if family in ("gemma2", "gpt_oss") else "sdpa"
