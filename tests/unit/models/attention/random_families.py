# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Tiny random models of every type that reads packed rows, from the type's own configuration class."""

from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from tests.unit.models.tiny_models import VOCABULARY

_SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "initializer_range": 0.15,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
# What some types have besides; each is set where the type's configuration knows it.
_FURTHER = {
    "sliding_window": 5,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "q_lora_rank": 12,
    "kv_lora_rank": 10,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 6,
    "ffn_hidden_size": 48,
    "vocab_size_per_layer_input": VOCABULARY,
    "hidden_size_per_layer_input": 8,
    "global_head_dim": 8,
}
_LATENT = {"num_key_value_heads": 4}
_LATENT_OF_ROPE = {"num_key_value_heads": 4, "head_dim": 4}
_MIXED = ["sliding_attention", "full_attention", "sliding_attention"]
_OWN: dict[str, dict[str, Any]] = {
    "axk1": _LATENT_OF_ROPE,
    "deepseek_v2": _LATENT,
    "deepseek_v3": _LATENT_OF_ROPE,
    "gemma3n_text": {
        "num_hidden_layers": 3,
        "layer_types": _MIXED,
        "intermediate_size": [48] * 3,
        "activation_sparsity_pattern": [0.0] * 3,
        "num_kv_shared_layers": 0,
    },
    "gemma4_text": {"num_hidden_layers": 3, "layer_types": ["full_attention", *_MIXED[:2]], "num_kv_shared_layers": 1},
    "glm4_moe_lite": _LATENT,
    "longcat_flash": {**_LATENT_OF_ROPE, "num_layers": 2, "expert_ffn_hidden_size": 16, "moe_topk": 2},
    "minicpm3": _LATENT,
    "youtu": _LATENT_OF_ROPE,
}


def random_model(model_type: str, *, attention: str) -> Any:
    """Build the type's tiny model for evaluation, with the same weights at every call; its layers are of every kind."""
    default = CONFIG_MAPPING[model_type]()
    settings: dict[str, Any] = {**_SHAPE, **{name: value for name, value in _FURTHER.items() if name in dir(default)}}
    kinds = list(dict.fromkeys(default.layer_types)) if "layer_types" in dir(default) and default.layer_types else []
    if kinds:
        settings["layer_types"] = (kinds * 2)[:2]
    config = CONFIG_MAPPING[model_type](**{**settings, **_OWN.get(model_type, {})})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any = AutoModelForCausalLM.from_config(config, attn_implementation=attention)
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:  # norms, biases and sinks start as ones and zeros, which hides mistakes
                torch.nn.init.normal_(parameter, mean=float("norm" in name), std=0.1)
    return model.eval()
