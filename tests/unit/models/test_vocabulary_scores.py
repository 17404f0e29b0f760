# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Details over the vocabulary equal the plain computation in values and gradients, whatever is held at once."""

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.unit.models.test_scores import packed_batch
from tests.unit.models.tiny_models import VOCABULARY, tiny_model
from tunesmith.core.types import Batch, Detail, Scores
from tunesmith.models.attention.forest import layout_mask
from tunesmith.models.scores import hidden_states, score_batch
from tunesmith.models.tuners.full import FullParams, FullTuner
from tunesmith.models.tuners.lora import LoraParams, LoraTuner
from tunesmith.models.vocabulary_scores import ReferenceStates, score_vocabulary

DETAILS: tuple[Detail, ...] = ("mean_logp", "top_entropy", "divergence")
CASES: dict[str, dict[str, Any]] = {
    "llama": {},
    "tied": {"family": "llama", "tie_word_embeddings": True},
    "gemma2": {},
    "granite": {},
}


def build(case: str) -> Any:
    settings = dict(CASES[case])
    return tiny_model(settings.pop("family", case), **settings)


def plain_logps(model: Any, batch: Batch) -> Tensor:
    output = model(
        input_ids=batch.input_ids_BT,
        position_ids=batch.position_ids_BT,
        attention_mask=layout_mask(batch.input_ids_BT.device),
        use_cache=False,
        layout=batch.layout,
    )
    logps: Tensor = torch.log_softmax(output.logits[0, batch.source_index_N].float(), dim=-1)
    return logps


def plain_scores(model: Any, batch: Batch, start_NV: Tensor) -> Scores:
    logps_NV = plain_logps(model, batch)
    top_NK = logps_NV.detach().topk(20).values.log_softmax(-1)
    return Scores(
        logps_N=logps_NV.gather(-1, batch.target_ids_N[:, None])[:, 0],
        is_top_N=logps_NV.argmax(-1) == batch.target_ids_N,
        mean_logps_N=logps_NV.mean(-1),
        top_entropy_N=-(top_NK.exp() * top_NK).sum(-1),
        divergence_N=(start_NV.exp() * (start_NV - logps_NV)).sum(-1),
    )


def gradients(model: Any, scores: Scores) -> dict[str, Tensor]:
    weights_N = torch.randn(scores.logps_N.shape, generator=torch.Generator().manual_seed(4)) / len(scores.logps_N)
    assert scores.mean_logps_N is not None and scores.divergence_N is not None and scores.top_entropy_N is not None
    total_N = scores.logps_N * scores.top_entropy_N + 0.5 * scores.mean_logps_N.flip(0) + 0.7 * scores.divergence_N
    model.zero_grad()
    (total_N * weights_N).sum().backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def moved(model: Any) -> Any:
    """Change all weights a little, so that the model has left its start."""
    generator = torch.Generator().manual_seed(8)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.parametrize("chunk", [1, 7, 1000])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_equal_the_plain_computation(case: str, chunk: int) -> None:
    """The whole model is trained: the reference's head is another one, seen only inside the view."""
    batch, tuner = packed_batch(), FullTuner(FullParams())
    model: Any = tuner.attach(build(case))
    tuner.remember_base(model)
    with torch.no_grad():
        start_NV = plain_logps(model, batch)
    moved(model)
    plain_model = copy.deepcopy(model)
    with torch.no_grad(), tuner.base_view(model):
        states_ND = hidden_states(model, batch).index_select(0, batch.source_index_N)
    reference = ReferenceStates(states_ND=states_ND, view=lambda: tuner.base_view(model))
    ours = score_vocabulary(model, batch, DETAILS, reference=reference, chunk=chunk)
    plain = plain_scores(plain_model, batch, start_NV)
    for name in ("logps_N", "mean_logps_N", "top_entropy_N", "divergence_N"):
        found, expected = getattr(ours, name), getattr(plain, name)
        assert (found - expected).abs().max() < 2e-5, name
    assert ours.is_top_N is not None and plain.is_top_N is not None and torch.equal(ours.is_top_N, plain.is_top_N)
    assert plain.divergence_N is not None and float(plain.divergence_N.detach().min()) > 1e-5
    expected, found = gradients(plain_model, plain), gradients(model, ours)
    assert found.keys() == expected.keys() and found
    for name, values in expected.items():
        assert (found[name] - values).norm() < 2e-6 * max(1.0, float(values.norm())), name


def test_the_divergence_of_an_adapter_is_from_the_model_without_it() -> None:
    batch, tuner = packed_batch(), LoraTuner(LoraParams.model_validate({"lora_target": "all"}))
    model: Any = tuner.attach(build("llama"))
    with torch.no_grad():
        start_NV = plain_logps(build("llama"), batch)
    moved(model)
    with torch.no_grad(), tuner.base_view(model):
        states_ND = hidden_states(model, batch).index_select(0, batch.source_index_N)
    reference = ReferenceStates(states_ND=states_ND, view=contextlib.nullcontext)
    ours = score_vocabulary(model, batch, DETAILS, reference=reference, chunk=5)
    plain_model = copy.deepcopy(model)
    plain = plain_scores(plain_model.get_base_model(), batch, start_NV)
    assert ours.divergence_N is not None and plain.divergence_N is not None
    assert (ours.divergence_N - plain.divergence_N).abs().max() < 2e-5
    assert float(plain.divergence_N.detach().max()) > 1e-3
    expected, found = gradients(plain_model, plain), gradients(model, ours)
    assert found.keys() == expected.keys() and found
    for name, values in expected.items():
        assert (found[name] - values).norm() < 2e-6 * max(1.0, float(values.norm())), name


def test_no_tensor_holds_all_logits_and_plain_scores_are_the_same() -> None:
    class Watch(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.largest = 0

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = function(*args, **(kwargs or {}))
            for value in result if isinstance(result, tuple | list) else (result,):
                if isinstance(value, Tensor) and value.ndim and value.shape[-1] == VOCABULARY:
                    self.largest = max(self.largest, value.numel() // VOCABULARY)
            return result

    batch, model = packed_batch(), build("llama")
    watch = Watch()
    with watch:
        scores = score_vocabulary(model, batch, ["mean_logp", "top_entropy"], chunk=4)
        assert scores.mean_logps_N is not None
        (scores.logps_N.sum() + scores.mean_logps_N.sum()).backward()
    assert 0 < watch.largest <= max(4, model.config.hidden_size)  # the head's own gradient is [V, D], shown transposed
    assert scores.divergence_N is None
    plain = score_batch(model, batch)
    assert (scores.logps_N - plain.logps_N).abs().max() < 1e-6


def test_a_batch_without_targets_has_no_scores_but_a_graph() -> None:
    batch = packed_batch()
    nothing = torch.zeros(0, dtype=torch.long)
    empty = Batch(
        **{
            **vars(batch),
            "source_index_N": nothing,
            "target_ids_N": nothing,
            "target_weights_N": torch.zeros(0),
            "target_segment_N": nothing,
        }
    )
    scores = score_vocabulary(build("llama"), empty, ["mean_logp"])
    assert len(scores.logps_N) == 0 and scores.logps_N.requires_grad and scores.mean_logps_N is not None


@contextlib.contextmanager
def unchanged(model: Any) -> Iterator[None]:
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    yield
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


def test_views_inside_the_backward_pass_leave_the_weights_as_they_are() -> None:
    batch, tuner = packed_batch(), FullTuner(FullParams())
    model: Any = tuner.attach(build("tied"))
    tuner.remember_base(model)
    moved(model)
    states_ND = hidden_states(model, batch).detach().index_select(0, batch.source_index_N)
    reference = ReferenceStates(states_ND=states_ND, view=lambda: tuner.base_view(model))
    with unchanged(model):
        scores = score_vocabulary(model, batch, ["divergence"], reference=reference, chunk=3)
        assert scores.divergence_N is not None
        scores.divergence_N.sum().backward()
