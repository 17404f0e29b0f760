# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Training aids on a model: formats of norms, listings, fresh weights, 8-bit products, offloaded activations."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.unit.training.runs import tiny_model
from tunesmith.config.sections.aids import AidsSection
from tunesmith.core.errors import TunesmithError
from tunesmith.models.aids import attach_aids, listing, upcast_norms
from tunesmith.models.float8 import refuse_float8, use_float8
from tunesmith.models.fresh import fresh_model
from tunesmith.models.offload import ActivationOffload

CPU = torch.device("cpu")
IDS = torch.arange(24)[None]


def gradients(model: nn.Module) -> torch.Tensor:
    return torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])


def test_norms_are_held_in_float32_and_matrices_stay_short() -> None:
    model = tiny_model().bfloat16()
    upcast_norms(model)
    formats = {name: weight.dtype for name, weight in model.named_parameters()}
    assert {dtype for name, dtype in formats.items() if "norm" in name} == {torch.float32}
    assert {dtype for name, dtype in formats.items() if "norm" not in name} == {torch.bfloat16}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(input_ids=IDS).logits.isfinite().all()


def test_every_weight_is_listed() -> None:
    model = tiny_model()
    model.get_input_embeddings().requires_grad_(False)
    lines = listing(model)
    assert len(lines) == len(list(model.parameters()))
    assert lines[0] == "model.embed_tokens.weight: float32 (100, 32) on cpu, frozen" and lines[1].endswith("trained")


def test_fresh_weights_follow_the_seed(tiny_llama_folder: Path) -> None:
    def weights(seed: int) -> torch.Tensor:
        model = fresh_model(tiny_llama_folder, seed=seed, dtype=torch.float32, attention="forest", device=CPU)
        return torch.cat([weight.flatten() for weight in model.parameters()])

    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    first = weights(1)
    assert torch.equal(torch.rand(3), expected), "the run's own draws are not disturbed"
    assert torch.equal(first, weights(1)) and not torch.equal(first, weights(2))


def test_offloaded_activations_give_the_same_gradients() -> None:
    plain, model = tiny_model(), tiny_model()
    plain(input_ids=IDS, labels=IDS).loss.backward()
    offload = ActivationOffload(model, smallest_bytes=0)
    with offload.active():
        loss = model(input_ids=IDS, labels=IDS).loss
    loss.backward()
    assert torch.equal(gradients(plain), gradients(model))
    everything = offload.num_bytes
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    with offload.active():
        model(input_ids=IDS, labels=IDS).loss.backward()
    assert 0 < offload.num_bytes < 0.5 * everything, "with checkpointing only the inputs of layers are kept"


def test_weights_are_never_offloaded() -> None:
    model = nn.Linear(64, 64, bias=False)
    offload = ActivationOffload(model, smallest_bytes=0)
    with offload.active():
        model(torch.ones(2, 64, requires_grad=True)).sum()
    assert offload.num_bytes == 2 * 64 * 4


def test_on_the_cpu_nothing_is_offloaded() -> None:
    aids = attach_aids(
        tiny_model(), AidsSection.model_validate({"use_unsloth_gc": True, "enable_liger_kernel": True}), device=CPU
    )
    assert aids.offload is None and aids.balance is None


def test_emulated_8_bit_products_are_near_the_full_ones() -> None:
    pytest.importorskip("torchao")
    plain, model = tiny_model(), tiny_model()
    names = use_float8(model, emulate=True)
    assert len(names) == 14 and not any("lm_head" in name for name in names)
    loss, wanted = model(input_ids=IDS, labels=IDS).loss, plain(input_ids=IDS, labels=IDS).loss
    loss.backward()
    assert loss != wanted and abs(float(loss - wanted)) < 0.05 * float(wanted)
    assert model.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize(
    ("backend", "tuner", "said"), [("te", "full", "torchao"), ("auto", "lora", "full"), ("auto", "full", "NVIDIA")]
)
def test_fp8_is_refused_where_it_cannot_work(backend: str, tuner: str, said: str) -> None:
    with pytest.raises(TunesmithError) as caught:
        refuse_float8(CPU, backend=backend, finetuning_type=tuner)
    assert said in caught.value.problems[0].message
