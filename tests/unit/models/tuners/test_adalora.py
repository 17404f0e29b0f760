# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""AdaLoRA: ranks are taken away down to the target, the orthogonality term acts, impossible schedules are refused."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from tests.unit.models.tiny_models import tiny_model
from tests.unit.models.tiny_tuners import IDS, build
from tunesmith.core.errors import TunesmithError
from tunesmith.models.tuners.base import trained_parameters


def steps(tuner: Any, model: Any, count: int, *, of: int | None = None, with_loss: bool = True) -> None:
    optimizer = torch.optim.AdamW([weight for _, weight in trained_parameters(model)], lr=1e-2, weight_decay=0.0)
    for step in range(1, count + 1):
        optimizer.zero_grad()
        loss = tuner.penalty(model)
        if with_loss:
            loss = loss + model(input_ids=IDS).logits.square().mean()
        loss.backward()
        optimizer.step()
        if with_loss:
            tuner.after_step(model, step=step, num_steps=of or count)


def ranks(model: nn.Module) -> list[int]:
    return [int((weight != 0).sum()) for name, weight in model.named_parameters() if ".lora_E." in name]


def test_ranks_are_taken_away_down_to_the_target_and_unevenly() -> None:
    tuner = build("adalora", adalora_init_r=6, adalora_target_r=2, adalora_tinit=1, adalora_tfinal=2)
    model = tuner.attach(tiny_model("llama"))
    steps(tuner, model, 8)
    left = ranks(model)
    assert sum(left) == 2 * len(left) and len(set(left)) > 1


def test_the_orthogonality_term_brings_both_matrices_near_orthonormal_ones() -> None:
    tuner = build("adalora")
    model = tuner.attach(tiny_model("llama"))
    before = float(tuner.penalty(model))
    steps(tuner, model, 20, with_loss=False)
    assert float(tuner.penalty(model)) < 0.9 * before
    assert build("adalora", adalora_orth_reg_weight=0).penalty(build("adalora", adalora_orth_reg_weight=0).attach(
        tiny_model("llama")
    )) == 0.0  # fmt: skip


def test_what_it_gathered_is_given_and_taken_back() -> None:
    tuner = build("adalora", adalora_init_r=6, adalora_target_r=2)
    model = tuner.attach(tiny_model("llama"))
    steps(tuner, model, 3, of=6)
    state = tuner.running_state(model)
    assert {name.partition("|")[0] for name in state} >= {"ipt", "exp_avg_ipt", "exp_avg_unc"}
    other = build("adalora", adalora_init_r=6, adalora_target_r=2)
    fresh = other.attach(tiny_model("llama"))
    other.restore_running(fresh, state)
    again = other.running_state(fresh)
    assert state.keys() == again.keys() and all(torch.equal(state[name], again[name]) for name in state)


def test_impossible_schedules_and_ranks_are_refused() -> None:
    tuner = build("adalora", adalora_tinit=2, adalora_tfinal=2)
    model = tuner.attach(tiny_model("llama"))
    with pytest.raises(TunesmithError) as caught:
        tuner.after_step(model, step=1, num_steps=4)
    assert caught.value.problems[0].code == "tuner.schedule_impossible"
    with pytest.raises(ValidationError, match="adalora_target_r"):
        build("adalora", adalora_target_r=13)
