# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""New tokens' rows: where they start, that they alone are trained, exactly, and that nothing is lost on the way."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.unit.models.test_scores import packed_batch
from tests.unit.models.tiny_models import FAMILIES, VOCABULARY, own_attention, tiny_model
from tests.unit.models.tiny_tuners import IDS, NAMES, STEP_SIZES, build, logits, train
from tunesmith.core.errors import TunesmithError
from tunesmith.models import frozen_scores
from tunesmith.models.anatomy import base_model
from tunesmith.models.frozen_scores import is_frozen_linear
from tunesmith.models.new_rows import fold_rows, give_rows, mount_rows, row_parameters
from tunesmith.models.new_rows_tuner import NewRowsTuner
from tunesmith.models.saved_weights import save_whole_model
from tunesmith.models.scores import score_batch
from tunesmith.models.token_manifest import NewToken, TokenManifest
from tunesmith.models.tuners.base import Tuner, trained_parameters

# Tokens that the batches of other tests use count as new here, or lie behind the vocabulary.
INSIDE, BEHIND = 60, VOCABULARY


def manifest(first: int, count: int = 20, **changes: Any) -> TokenManifest:
    tokens = tuple(NewToken(content=f"<{first + number}>", id=first + number, special=False) for number in range(count))
    values = {"base_size": first, "base_digest": "", "start": "noise_init", "seed": 3, "descriptions": {}}
    return TokenManifest(tokens=tokens, **{**values, **changes})


def with_tuner(name: str, model: Any, tokens: TokenManifest) -> tuple[NewRowsTuner, Any]:
    tuner = NewRowsTuner(build(name), tokens)
    return tuner, tuner.attach(model)


def row_gradients(model: Any, tokens: TokenManifest, batch: Any, *, is_plain: bool, entropy: bool) -> list[Tensor]:
    """Give log-probs, and the gradients of the new rows of embedding and head (one of them where they are tied)."""
    base = base_model(model)
    ends = [base.get_input_embeddings(), base.get_output_embeddings()]
    if is_plain:
        for end in ends:
            end.weight.requires_grad_(True)
    scores = score_batch(model, batch, needs_entropy=entropy, chunk=7)
    factors = torch.linspace(0.5, 1.5, len(scores.logps_N))
    loss = (scores.logps_N * factors).sum()
    if scores.entropy_N is not None:
        loss = loss + (scores.entropy_N * factors.flip(0)).sum()
    loss.backward()
    if not is_plain:
        found = [parameter.grad for parameter in row_parameters(model)]
        assert all(gradient is not None for gradient in found)
        return [scores.logps_N.detach(), *(gradient for gradient in found if gradient is not None)]
    weights = {id(end.weight): end.weight for end in ends}
    return [scores.logps_N.detach(), *(w.grad[tokens.first : tokens.end] for w in weights.values())]


@pytest.mark.parametrize("entropy", [False, True])
@pytest.mark.parametrize("is_tied", [False, True])
@pytest.mark.parametrize("family", ["llama", "gemma2", "granite", "gemma3_text"])
def test_scores_and_gradients_of_rows_equal_the_plain_computation(family: str, is_tied: bool, entropy: bool) -> None:
    tokens, batch = manifest(INSIDE), packed_batch()
    assert {*batch.input_ids_BT[0].tolist()} & {*range(tokens.first, tokens.end)}
    plain = tiny_model(family, tie_word_embeddings=is_tied)
    mounted = copy.deepcopy(plain).requires_grad_(False)
    mount_rows(mounted, tokens, pure_bf16=False)
    expected = row_gradients(plain, tokens, batch, is_plain=True, entropy=entropy)
    found = row_gradients(mounted, tokens, batch, is_plain=False, entropy=entropy)
    assert len(found) == len(expected) == (2 if is_tied else 3)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_model_with_rows_computes_the_same_as_folded(family: str) -> None:
    tokens = manifest(BEHIND, 5)
    model = tiny_model(family, attention=own_attention(family)).requires_grad_(False).eval()
    give_rows(model, tokens, VOCABULARY)
    mount_rows(model, tokens, pure_bf16=False)
    with torch.no_grad():
        for parameter in row_parameters(model):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    ids = torch.cat([IDS[:1], torch.arange(tokens.first, tokens.end)[None]], dim=1)
    with torch.no_grad():
        mounted = model(input_ids=ids).logits
        fold_rows(model)
        folded = model(input_ids=ids).logits
    assert mounted.shape[-1] == tokens.end and not row_parameters(model)
    torch.testing.assert_close(mounted, folded, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("is_tied", [False, True])
def test_a_grown_embedding_keeps_its_format_and_old_rows(is_tied: bool, dtype: torch.dtype) -> None:
    model = tiny_model("llama", dtype=dtype, tie_word_embeddings=is_tied)
    old = [end.weight.detach().clone() for end in (model.get_input_embeddings(), model.get_output_embeddings())]
    state = torch.get_rng_state()
    give_rows(model, manifest(BEHIND, 3), VOCABULARY)
    assert torch.equal(torch.get_rng_state(), state)
    ends = [model.get_input_embeddings(), model.get_output_embeddings()]
    assert all(end.weight.dtype == dtype and len(end.weight) == VOCABULARY + 3 for end in ends)
    assert all(torch.equal(end.weight[:VOCABULARY], before) for end, before in zip(ends, old, strict=True))
    assert (ends[0].weight is ends[1].weight) == is_tied and model.config.vocab_size == VOCABULARY + 3


def test_rows_start_at_the_mean_with_noise_or_at_their_description() -> None:
    model = tiny_model("llama", tie_word_embeddings=True)
    weight = model.get_input_embeddings().weight.detach().clone()
    mean, deviation = weight[:INSIDE].mean(dim=0), weight.shape[1] ** -0.5
    give_rows(model, manifest(INSIDE), VOCABULARY)
    rows = model.get_input_embeddings().weight.detach()[INSIDE : INSIDE + 20]
    assert len(model.get_input_embeddings().weight) == VOCABULARY  # large enough: nothing grows
    assert 0.8 * deviation < float((rows - mean).std()) < 1.2 * deviation
    described = {f"<{INSIDE}>": (5, 9)}
    for start, is_exact in (("desc_init", True), ("desc_init_w_noise", False)):
        give_rows(model, manifest(INSIDE, start=start, descriptions=described), VOCABULARY)
        first = model.get_input_embeddings().weight.detach()[INSIDE]
        assert torch.allclose(first, weight[[5, 9]].mean(dim=0)) == is_exact


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("full", "trainable_tokens")])
def test_every_tuner_trains_saves_loads_and_merges_rows(name: str, tmp_path: Path) -> None:
    tokens = manifest(INSIDE)
    tuner, model = with_tuner(name, small(), tokens)
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    start = logits(model)
    train(model, 2, step_size=min(0.5, STEP_SIZES.get(name, 0.5)))
    changed = {key for key, value in model.named_parameters() if not torch.equal(value, before[key])}
    assert sum("new_rows" in key for key in changed) == 2
    assert not any(key.endswith(("embed_tokens.weight", "lm_head.weight")) for key in changed)
    trained = logits(model)
    tuner.save(model, tmp_path)
    assert torch.equal(logits(model), trained)
    with tuner.base_view(model) if tuner.keeps_base_cheaply and tuner.starts_as_identity else torch.no_grad():
        shown = logits(model)
    assert torch.allclose(shown, start, atol=1e-5) == (tuner.keeps_base_cheaply and tuner.starts_as_identity)
    assert torch.equal(logits(model), trained)
    again = NewRowsTuner(build(name), tokens)
    loaded = again.load(small(), tmp_path, is_trainable=True)
    torch.testing.assert_close(logits(loaded), trained, rtol=1e-5, atol=1e-5)
    served = NewRowsTuner(build(name), tokens).load(small(), tmp_path, is_trainable=False)
    torch.testing.assert_close(logits(served), trained, rtol=1e-4, atol=1e-4)
    assert not [key for key, value in served.named_parameters() if value.requires_grad]
    train(loaded, 1, step_size=0.01)
    again.restore(loaded, tmp_path)
    torch.testing.assert_close(logits(loaded), trained, rtol=1e-5, atol=1e-5)
    if tuner.merge_refused is None:
        merged = tuner.merge(model)
        torch.testing.assert_close(logits(merged), trained, rtol=1e-3, atol=1e-3)
        assert not any("new_rows" in key for key in merged.state_dict())


def small(**changes: Any) -> Any:
    """Build a tiny model that has the rows already, with the values they start from."""
    model = tiny_model("llama", num_hidden_layers=2, **changes)
    give_rows(model, manifest(INSIDE), VOCABULARY)
    return model


def test_a_whole_model_with_rows_is_saved_plain(tmp_path: Path) -> None:
    tuner, model = with_tuner("freeze", small(), manifest(INSIDE))
    train(model)
    tuner.save(model, tmp_path)
    (tmp_path / "plain").mkdir()
    fold_rows(model)
    save_whole_model(base_model(model), tmp_path / "plain")
    written = (tmp_path / "model.safetensors").read_bytes()
    assert written == (tmp_path / "plain" / "model.safetensors").read_bytes()


def test_a_model_with_other_tables_by_token_is_refused() -> None:
    model = tiny_model("llama")
    model.register_buffer("experts_of_tokens", torch.zeros(VOCABULARY, 2, dtype=torch.long))
    with pytest.raises(TunesmithError) as refused:
        give_rows(model, manifest(BEHIND, 3), VOCABULARY)
    assert "experts_of_tokens" in refused.value.problems[0].message
    give_rows(model, manifest(INSIDE), VOCABULARY)  # nothing grows
    with pytest.raises(TunesmithError):
        give_rows(tiny_model("llama"), manifest(BEHIND, 3), VOCABULARY + 9)


def test_rows_stay_in_full_precision_beside_a_short_model() -> None:
    model = small().to(torch.bfloat16)
    _, model = with_tuner("lora", model, manifest(INSIDE))
    assert [parameter.dtype for parameter in row_parameters(model)] == [torch.float32] * 2
    logits_before = logits(model)
    fold_rows(model)
    assert torch.equal(logits(model), logits_before)


def test_an_embedding_trained_whole_needs_no_rows_and_an_adapted_one_is_refused() -> None:
    tokens = manifest(INSIDE)
    whole = NewRowsTuner(build("lora", additional_target="embed_tokens,lm_head"), tokens)
    assert not row_parameters(whole.attach(small()))
    with pytest.raises(TunesmithError) as refused:
        NewRowsTuner(build("lora", lora_target="q_proj,lm_head"), tokens).attach(small())
    assert refused.value.problems[0].code == "model.tokens_unsupported"
    listed = NewRowsTuner(build("trainable_tokens", trainable_token_ids=tuple(range(INSIDE, INSIDE + 20))), tokens)
    model = listed.attach(small(tie_word_embeddings=True))
    assert trained_parameters(model) and not row_parameters(model)


def test_a_head_with_a_few_new_rows_keeps_the_scorer_of_frozen_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama").requires_grad_(False).to(torch.bfloat16)
    mount_rows(model, manifest(INSIDE), pure_bf16=False)
    assert is_frozen_linear(model.lm_head)
    found = row_gradients(model, manifest(INSIDE), packed_batch(), is_plain=False, entropy=False)
    for parameter in row_parameters(model):
        parameter.grad = None
    monkeypatch.setattr(frozen_scores, "_MOST_NEW_ROWS", 19)
    assert not is_frozen_linear(model.lm_head)
    expected = row_gradients(model, manifest(INSIDE), packed_batch(), is_plain=False, entropy=False)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).norm() < 0.02 * theirs.norm()


def test_every_word_of_the_contract_reaches_the_tuner_inside() -> None:
    contract = {name for name in vars(Tuner) if not name.startswith("_")}
    answered = {*vars(NewRowsTuner), *vars(NewRowsTuner(build("lora"), manifest(INSIDE)))}
    assert contract <= answered
