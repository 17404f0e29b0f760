# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The scorer's values and gradients equal the plain computation, and no tensor holds all logits."""

import copy
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.unit.models.tiny_models import VOCABULARY, tiny_model
from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import NO_PARENT, Batch, ForestLayout, Scores
from tunesmith.models import frozen_scores
from tunesmith.models.attention.forest import layout_mask
from tunesmith.models.head import check_head, language_head
from tunesmith.models.scores import score_batch, score_states

LENGTHS = (13, 9, 1, 12)
TOTAL = sum(LENGTHS)


def packed_batch() -> Batch:
    """Four rows; every token but the first of a row is a target, and one state predicts two targets."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(3, VOCABULARY, (1, TOTAL), generator=generator)
    ends = [sum(LENGTHS[: index + 1]) for index in range(len(LENGTHS))]
    starts = [end - length for end, length in zip(ends, LENGTHS, strict=True)]
    layout = ForestLayout(starts=tuple(starts), ends=tuple(ends), parents=(NO_PARENT,) * len(LENGTHS))
    places = torch.tensor([*(place for place in range(TOTAL) if place not in starts), 5])
    return Batch(
        input_ids_BT=ids,
        position_ids_BT=torch.from_numpy(layout.positions()).long()[None],
        attention_mask_BT=None,
        layout=layout,
        source_index_N=places - 1,
        target_ids_N=ids[0, places],
        target_weights_N=torch.ones(len(places)),
        target_segment_N=torch.zeros(len(places), dtype=torch.long),
        segment_row_S=torch.arange(len(LENGTHS)),
        segment_names=("text",) * len(LENGTHS),
        rows=(),
        num_tokens=TOTAL,
    )


def plain_scores(model: Any, batch: Batch) -> Scores:
    """Take all logits of the model's own forward and their log-softmax."""
    output = model(
        input_ids=batch.input_ids_BT,
        position_ids=batch.position_ids_BT,
        attention_mask=layout_mask(batch.input_ids_BT.device),
        use_cache=False,
        layout=batch.layout,
    )
    logits = output.logits[0, batch.source_index_N].float()
    logps = torch.log_softmax(logits, dim=-1)
    return Scores(
        logps_N=logps.gather(-1, batch.target_ids_N[:, None])[:, 0],
        is_top_N=logits.argmax(-1) == batch.target_ids_N,
        entropy_N=-(logps.exp() * logps).sum(-1),
    )


def gradients(model: Any, scores: Scores, *, entropy: bool) -> dict[str, Tensor]:
    weights = torch.randn(scores.logps_N.shape, generator=torch.Generator().manual_seed(4)) / len(scores.logps_N)
    loss = (scores.logps_N * weights).sum()
    if entropy:
        assert scores.entropy_N is not None
        loss = loss + (scores.entropy_N * weights.flip(0)).sum()
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


CASES: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama tied": {"family": "llama", "tie_word_embeddings": True},
    "gemma2": {},
    "gemma3_text": {"final_logit_softcapping": 2.0},
    "granite": {},
    "granite tied": {"family": "granite", "tie_word_embeddings": True},
}


def build(case: str) -> Any:
    settings = dict(CASES[case])
    return tiny_model(settings.pop("family", case), **settings)


@pytest.mark.parametrize("chunk", [1, 7, 1000])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_equal_the_plain_computation(case: str, chunk: int) -> None:
    batch = packed_batch()
    ours_model, plain_model = build(case), build(case)
    ours = score_batch(ours_model, batch, needs_entropy=True, chunk=chunk)
    plain = plain_scores(plain_model, batch)
    assert ours.entropy_N is not None and plain.entropy_N is not None
    assert ours.is_top_N is not None and plain.is_top_N is not None
    assert (ours.logps_N - plain.logps_N).abs().max() < 1e-5
    assert (ours.entropy_N - plain.entropy_N).abs().max() < 1e-5
    assert torch.equal(ours.is_top_N, plain.is_top_N)
    expected = gradients(plain_model, plain, entropy=True)
    found = gradients(ours_model, ours, entropy=True)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert (found[name] - values).norm() < 1e-6 * max(1.0, float(values.norm())), name


@pytest.mark.parametrize("chunk", [1, 7, 1000])
@pytest.mark.parametrize("case", [*CASES, "cohere", "biased"])
def test_a_frozen_head_gives_the_plain_values_and_gradients(case: str, chunk: int) -> None:
    batch = packed_batch()
    models = [build(case) if case in CASES else tiny_model("llama" if case == "biased" else case)]
    models.append(copy.deepcopy(models[0]))
    for model in models:
        head_of = model.get_output_embeddings()
        if case == "biased":
            bias = torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(5))
            head_of.bias = torch.nn.Parameter(bias)
        head_of.requires_grad_(False)
    plain = plain_scores(models[1], batch)
    ours = score_batch(models[0], batch, chunk=chunk)
    assert type(ours.logps_N.grad_fn).__name__ == "FrozenScoresBackward"
    assert ours.is_top_N is not None and plain.is_top_N is not None
    assert (ours.logps_N - plain.logps_N).abs().max() < 1e-5
    assert torch.equal(ours.is_top_N, plain.is_top_N)
    expected = gradients(models[1], plain, entropy=False)
    found = gradients(models[0], ours, entropy=False)
    assert found.keys() == expected.keys() and found
    for name, values in expected.items():
        # The rounding of three layers is in this; the next test is strict.
        assert (found[name] - values).norm() < 3e-6 * max(1.0, float(values.norm())), name


@pytest.mark.parametrize("case", [*CASES, "adapter"])
@pytest.mark.parametrize("is_frozen", [False, True])
def test_gradients_at_the_hidden_states_are_exact(case: str, is_frozen: bool) -> None:
    """Compared with float64, at 1e-6: in blocks smaller than a chunk, too."""
    generator = torch.Generator().manual_seed(6)
    model: Any = tiny_model("llama") if case == "adapter" else build(case)
    model.get_output_embeddings().requires_grad_(not is_frozen)
    if case == "adapter":
        model = get_peft_model(model, LoraConfig(r=4, target_modules=["lm_head"], init_lora_weights=False))
    states = torch.randn(50, 32, generator=generator, requires_grad=True)
    targets = torch.randint(0, VOCABULARY, (50,), generator=generator)
    weights = torch.randn(50, generator=generator)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frozen_scores, "_BLOCK_ELEMENTS", 3 * VOCABULARY)
        scores = score_states(model, states, targets, chunk=16)
        (found,) = torch.autograd.grad((scores.logps_N * weights).sum(), states)
    exact_head, exact_states = language_head(model), states.detach().double().requires_grad_()
    raw = copy.deepcopy(exact_head.module).double()(exact_states) * exact_head.scale
    cap = exact_head.softcap
    logps = torch.log_softmax(raw if cap is None else torch.tanh(raw / cap) * cap, dim=-1)
    chosen = logps.gather(-1, targets[:, None])[:, 0]
    (expected,) = torch.autograd.grad((chosen * weights).sum(), exact_states)
    assert (scores.logps_N - chosen).detach().abs().max() < 1e-5
    assert (found - expected).norm() < 1e-6 * expected.norm()


def test_bias_on_the_head() -> None:
    batch = packed_batch()
    models = [tiny_model("llama"), tiny_model("llama")]
    for model in models:
        bias = torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(5))
        model.lm_head.bias = torch.nn.Parameter(bias)
    expected = gradients(models[1], plain_scores(models[1], batch), entropy=False)
    found = gradients(models[0], score_batch(models[0], batch, chunk=5), entropy=False)
    assert (found["lm_head.bias"] - expected["lm_head.bias"]).abs().max() < 1e-6


@pytest.mark.parametrize("wrapped", ["adapter", "copy"])
def test_adapters_and_trained_copies_of_the_head(wrapped: str) -> None:
    batch = packed_batch()
    extra: dict[str, Any] = {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}
    if wrapped == "adapter":
        extra = {"target_modules": ["lm_head", "q_proj"]}
    models: list[Any] = []
    for _ in range(2):
        torch.manual_seed(0)
        models.append(get_peft_model(tiny_model("llama"), LoraConfig(r=4, init_lora_weights=False, **extra)))
    expected = gradients(models[1], plain_scores(models[1], batch), entropy=False)
    found = gradients(models[0], score_batch(models[0], batch, chunk=6), entropy=False)
    assert any("lm_head" in name for name in found) and found.keys() == expected.keys()
    for name, values in expected.items():
        assert (found[name] - values).abs().max() < 1e-6, name


def test_dropout_on_the_head_is_the_same_in_both_computations() -> None:
    """In one chunk the head is called once, so the plain computation draws the same random numbers."""
    batch = packed_batch()
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_dropout=0.5, target_modules=["lm_head"], init_lora_weights=False)
    model: Any = get_peft_model(tiny_model("llama"), config).train()
    states = torch.randn(len(batch.target_ids_N), 32)
    torch.manual_seed(9)
    ours = gradients(model, score_states(model, states, batch.target_ids_N), entropy=False)
    after = torch.get_rng_state()
    torch.manual_seed(9)
    logits = model.get_base_model().lm_head(states)
    logps = torch.log_softmax(logits, -1).gather(-1, batch.target_ids_N[:, None])[:, 0]
    plain = gradients(model, Scores(logps_N=logps), entropy=False)
    assert torch.equal(after, torch.get_rng_state())
    for name, values in plain.items():
        assert (ours[name] - values).abs().max() < 1e-6, name


def test_frozen_head_gets_no_gradient_and_evaluation_needs_none() -> None:
    model = tiny_model("llama")
    model.lm_head.weight.requires_grad_(False)
    scores = score_batch(model, packed_batch())
    scores.logps_N.sum().backward()
    assert model.lm_head.weight.grad is None and model.model.layers[0].mlp.up_proj.weight.grad is not None
    with torch.no_grad():
        silent = score_batch(model, packed_batch())
    assert not silent.logps_N.requires_grad and silent.entropy_N is None
    assert torch.equal(silent.logps_N, scores.logps_N.detach())


@pytest.mark.parametrize("is_tied", [False, True])
def test_autocast_is_the_same_in_both_computations(is_tied: bool) -> None:
    batch = packed_batch()
    model = tiny_model("llama", tie_word_embeddings=is_tied)
    for _ in range(2):  # the second time finds whatever the first left in autocast's cache
        with torch.autocast("cpu", dtype=torch.bfloat16):
            ours = score_batch(model, batch, chunk=7)
            found = gradients(model, ours, entropy=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plain = plain_scores(tiny_model("llama", tie_word_embeddings=is_tied), batch)
    assert (ours.logps_N - plain.logps_N).abs().max() < 0.1
    expected = gradients(model, score_batch(model, batch), entropy=False)
    for name, values in expected.items():
        assert (found[name] - values).norm() < 0.05 * values.norm() + 1e-4, name


def test_bfloat16_model() -> None:
    batch = packed_batch()
    scores = score_batch(tiny_model("llama", dtype=torch.bfloat16), batch, needs_entropy=True)
    exact = score_batch(tiny_model("llama"), batch)
    assert scores.logps_N.dtype == torch.float32
    assert (scores.logps_N - exact.logps_N).abs().max() < 0.3


def test_gradient_checkpointing_changes_nothing() -> None:
    batch = packed_batch()
    model = tiny_model("llama")
    expected = gradients(model, score_batch(model, batch), entropy=False)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    found = gradients(model, score_batch(model, batch), entropy=False)
    assert all(torch.equal(found[name], values) for name, values in expected.items())


def test_no_targets_give_empty_scores_and_zero_gradients() -> None:
    model = tiny_model("llama")
    batch = packed_batch()
    states = model.model(batch.input_ids_BT).last_hidden_state[0, :0]
    scores = score_states(model, states, batch.target_ids_N[:0], needs_entropy=True)
    scores.logps_N.sum().backward()
    assert scores.logps_N.shape == (0,) and model.lm_head.weight.grad.abs().max() == 0


class LargestTensor(TorchDispatchMode):
    """Remembers the most elements any operation gave back."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else [result]:
            if isinstance(value, Tensor):
                self.elements = max(self.elements, value.numel())
        return result


def test_no_tensor_holds_the_logits_of_all_targets() -> None:
    vocabulary, num_targets, chunk = 5000, 64, 4
    model = tiny_model("llama", vocab_size=vocabulary, tie_word_embeddings=True)
    model.model.embed_tokens.weight.requires_grad_(False)
    states = torch.randn(num_targets, 32, requires_grad=True)
    targets = torch.arange(num_targets)
    with LargestTensor() as largest:
        score_states(model, states, targets, needs_entropy=True, chunk=chunk).logps_N.sum().backward()
    # The head's own weight (transposed for the product) is the only tensor larger than one chunk of logits.
    assert largest.elements == max(chunk * vocabulary, 32 * vocabulary)
    assert states.grad is not None and states.grad.abs().sum() > 0


@pytest.mark.parametrize("family", ["llama", "gemma2", "granite", "cohere", "gpt_neox"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_check_head_accepts_heads_it_knows(family: str, dtype: torch.dtype) -> None:
    check_head(tiny_model(family, dtype=dtype))


def test_check_head_refuses_a_scaling_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.models.head._LOGIT_SCALES", {})
    with pytest.raises(TunesmithError) as caught:
        check_head(tiny_model("granite"))
    assert caught.value.problems[0].code == "model.head_unknown"
