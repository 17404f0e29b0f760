# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The first group of tuners on families unlike Llama: fused projections, experts, latent attention, sinks.

bench/tuners.py runs these and all others on more families, and writes what it found into docs/reference/tuners.md.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scripts.tuner_table import PAGE, RESULTS, page, read_cells
from tests.unit.models.tiny_models import PADDED_FAMILIES, own_attention, tiny_model
from tests.unit.models.tiny_tuners import build, logits, train
from tunesmith.core.errors import TunesmithError
from tunesmith.models.attention.packing import can_pack
from tunesmith.models.coverage import coverage
from tunesmith.models.head import check_head
from tunesmith.models.tuners.base import trained_parameters

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "freeze": ("freeze", {"freeze_trainable_layers": 1}),
    "lora": ("lora", {"lora_rank": 4}),
    "dora": ("lora", {"lora_rank": 4, "use_dora": True}),
    "pissa": ("lora", {"lora_rank": 4, "pissa_init": True}),
    "oft": ("oft", {"oft_block_size": 8}),
}
FUSED = [family for family in PADDED_FAMILIES if family not in ("glm4", "internlm3")]


def tiny(family: str) -> Any:
    return tiny_model(family, attention=own_attention(family))


def test_the_page_of_tuners_says_what_the_cells_say() -> None:
    cells = read_cells(RESULTS)
    assert cells and PAGE.read_text(encoding="utf-8") == page(cells)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", PADDED_FAMILIES)
def test_starts_trains_saves_loads_and_merges(family: str, method: str, tmp_path: Path) -> None:
    name, keys = METHODS[method]
    base = tiny(family)
    check_head(base)
    assert not can_pack(base)[0]
    started, tuner = logits(base), build(name, **keys)
    model = tuner.attach(base)
    assert (logits(model) - started).abs().max() < 1e-5
    train(model, step_size=0.2)
    expected = logits(model)
    assert (expected - started).abs().max() > 1e-3
    tuner.save(model, tmp_path)
    loaded = build(name, **keys).load(tiny(family), tmp_path, is_trainable=True)
    assert (logits(loaded) - expected).abs().max() < 5e-6
    merged = tuner.merge(loaded)
    assert (logits(merged) - expected).abs().max() < 5e-5
    assert {key for key, _ in merged.named_parameters()} == {key for key, _ in tiny(family).named_parameters()}


@pytest.mark.parametrize("family", FUSED)
def test_experts_are_adapted_where_they_are_named(family: str, tmp_path: Path) -> None:
    keys: dict[str, Any] = {"lora_rank": 4, "target_parameters": "experts"}
    tuner = build("lora", **keys)
    model = tuner.attach(tiny(family))
    states = {row.name: row.state for row in coverage(model).rows}
    experts = {name: state for name, state in states.items() if name.endswith(("gate_up_proj", "experts.down_proj"))}
    assert len(experts) == 2 and set(experts.values()) == {"adapted"}, states
    before = gradients_of_experts(model)
    assert before and all(bool(gradient.abs().sum() > 0) for gradient in before.values())
    train(model, step_size=0.2)
    expected = logits(model)
    tuner.save(model, tmp_path)
    loaded = build("lora", **keys).load(tiny(family), tmp_path, is_trainable=False)
    assert torch.equal(logits(loaded), expected)
    with tuner.base_view(model):
        assert torch.equal(logits(model), logits(tiny(family)))
    assert (logits(tuner.merge(model)) - expected).abs().max() < 5e-5


def gradients_of_experts(model: nn.Module) -> dict[str, Tensor]:
    """Give the gradients of the second matrices, the first of which are zero at the start."""
    output: Any = model(input_ids=torch.arange(3, 30)[None]).logits
    output.square().mean().backward()
    found = {name: weight.grad for name, weight in trained_parameters(model) if "experts" in name and "lora_B" in name}
    model.zero_grad()
    return {name: gradient for name, gradient in found.items() if gradient is not None}


def test_names_of_layers_are_not_taken_for_those_of_experts() -> None:
    """PEFT by itself would adapt the experts here, and leave out the dense and shared layers (models/patches)."""
    states = {row.name: row.state for row in coverage(build("lora").attach(tiny("deepseek_v3"))).rows}
    assert states["model.layers.*.mlp.experts.down_proj"] == "frozen"
    assert states["model.layers.*.mlp.down_proj.weight"] == "adapted"
    assert states["model.layers.*.mlp.shared_experts.down_proj.weight"] == "adapted"


def test_one_expert_weight_can_be_chosen_and_others_are_named() -> None:
    model = build("lora", lora_rank=4, target_parameters="down_proj").attach(tiny("qwen3_moe"))
    states = {row.name.rpartition(".")[2]: row.state for row in coverage(model).rows if "experts" in row.name}
    assert states["down_proj"] == "adapted" and states["gate_up_proj"] == "frozen"


@pytest.mark.parametrize(
    ("keys", "family", "code"),
    [
        ({"target_parameters": "down_prj"}, "qwen3_moe", "tuner.target_unknown"),
        ({"target_parameters": "experts"}, "glm4", "tuner.target_unknown"),
        ({"target_parameters": "experts", "lora_dropout": 0.1}, "qwen3_moe", "tuner.experts_unfit"),
        ({"target_parameters": "experts", "use_dora": True}, "qwen3_moe", "tuner.experts_unfit"),
        ({"target_parameters": "experts", "init_lora_weights": "olora"}, "qwen3_moe", "tuner.experts_unfit"),
    ],
)
def test_what_does_not_fit_experts_is_refused(keys: dict[str, Any], family: str, code: str) -> None:
    with pytest.raises(TunesmithError) as caught:
        build("lora", **keys).attach(tiny(family))
    assert caught.value.problems[0].code == code and caught.value.problems[0].where.key == "target_parameters"
