# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A model of a folder's configuration with random weights, drawn by the run's seed."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from tunesmith.models.load import attention_for, load_model_config, on_device


def fresh_model(
    folder: Path, *, seed: int, dtype: torch.dtype, attention: str, device: torch.device
) -> PreTrainedModel:
    """Build the model; the same seed gives the same weights on every device, because they are drawn on the CPU."""
    config = load_model_config(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(
            config, dtype=dtype, attn_implementation=attention_for(config, attention), trust_remote_code=False
        )
    return on_device(model, device)
