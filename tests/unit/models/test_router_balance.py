# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The balance of experts equals the auxiliary loss of transformers' own forward, in value and gradient."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, MixtralConfig, PreTrainedModel, Qwen3MoeConfig

from tests.unit.training.runs import tiny_model
from tunesmith.core.errors import TunesmithError
from tunesmith.models.anatomy import backbone
from tunesmith.models.router_balance import RouterBalance

SMALL: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_experts_per_tok": 2,
}
CONFIGS: dict[str, Any] = {
    "mixtral": MixtralConfig(**SMALL, num_local_experts=4),
    "qwen3_moe": Qwen3MoeConfig(**SMALL, num_experts=4, moe_intermediate_size=24),
}


def mixture(kind: str) -> PreTrainedModel:
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(CONFIGS[kind])
    assert isinstance(model, PreTrainedModel)
    model.train()
    return model


def router_gradients(model: nn.Module) -> torch.Tensor:
    return torch.cat([weight.grad.flatten() for name, weight in model.named_parameters() if weight.grad is not None])


@pytest.mark.parametrize("kind", sorted(CONFIGS))
@pytest.mark.parametrize("is_padded", [False, True])
@pytest.mark.parametrize("checkpoints", [False, True])
def test_it_equals_transformers(kind: str, is_padded: bool, checkpoints: bool) -> None:
    ids = torch.randint(0, 60, (3, 12), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(ids)
    if is_padded:
        mask[0, 7:] = 0
    options = {"attention_mask": mask} if is_padded else {}
    own = mixture(kind)
    own(input_ids=ids, output_router_logits=True, **options).aux_loss.mul(0.02).backward()
    model = mixture(kind)
    if checkpoints:
        model.activation_checkpointing_enable({"use_reentrant": False})
    balance = RouterBalance(model, coefficient=0.02)
    backbone(model)(input_ids=ids, use_cache=False, **options)
    loss = balance.take()
    assert isinstance(loss, torch.Tensor) and loss.item() > 0.02
    loss.backward()
    assert torch.allclose(router_gradients(own), router_gradients(model), atol=1e-8)
    assert balance.take() == 0.0


def test_there_is_none_outside_training() -> None:
    model = mixture("mixtral")
    balance = RouterBalance(model, coefficient=0.02)
    ids = torch.arange(8)[None]
    with torch.no_grad():
        backbone(model)(input_ids=ids)
    backbone(model.eval())(input_ids=ids)
    assert balance.take() == 0.0


def test_a_model_without_experts_is_refused() -> None:
    with pytest.raises(TunesmithError) as caught:
        RouterBalance(tiny_model(), coefficient=0.01)
    assert caught.value.problems[0].code == "model.experts_unbalanced"
