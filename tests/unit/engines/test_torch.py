# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The engine generates what plain transformers generates, whatever else is in the batch."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GenerationConfig, PreTrainedModel

from tests.unit.models.tiny_models import VOCABULARY, tiny_model
from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import Sampling
from tunesmith.engines.torch import TorchEngine
from tunesmith.models.load import load_model

FAMILIES = ("llama", "mistral", "qwen3", "gemma2", "gemma3_text", "phi3", "granite")
GREEDY = Sampling(max_new_tokens=12, stop_ids=(3,))


def prompts(*lengths: int, seed: int = 0) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(4, VOCABULARY, (length,), generator=generator).tolist() for length in lengths]


def plain_generate(model: PreTrainedModel, prompt: list[int], **options: Any) -> list[int]:
    """Generate with transformers alone, one prompt, without the model's own settings."""
    config = GenerationConfig(do_sample=False, pad_token_id=0, eos_token_id=3, **options)
    model.eval()
    generate: Any = model.generate
    ids: list[int] = generate(torch.tensor([prompt]), generation_config=config)[0].tolist()
    return ids[len(prompt) :]


@pytest.mark.parametrize("attention", ["forest", "sdpa", "eager"])
def test_greedy_tokens_equal_transformers(tiny_llama_folder: Path, attention: str) -> None:
    model = load_model(tiny_llama_folder, dtype=torch.float32, attention=attention)
    asked = [[index % 100 + 7 for index in range(length)] for length in (5, 31, 1, 17, 17)]
    answers = TorchEngine(model, pad_id=0).generate(asked, GREEDY)
    for prompt, answer in zip(asked, answers, strict=True):
        assert list(answer.token_ids) == plain_generate(model, prompt, max_new_tokens=12)
        assert len(answer.logps) == len(answer.token_ids)


@pytest.mark.parametrize("family", FAMILIES)
def test_windows_and_caps_are_kept_in_padded_batches(family: str) -> None:
    model = tiny_model(family)
    asked = prompts(3, 40, 12)
    answers = TorchEngine(model, pad_id=0).generate(asked, Sampling(max_new_tokens=20, stop_ids=(3,)))
    for prompt, answer in zip(asked, answers, strict=True):
        assert list(answer.token_ids) == plain_generate(model, prompt, max_new_tokens=20)


def test_rows_end_by_themselves_and_leave_the_batch() -> None:
    model = tiny_model("llama")
    asked = prompts(6, 9, 9, 4, 30, 11, 2)
    long = TorchEngine(model, pad_id=0).generate(asked, Sampling(max_new_tokens=30, stop_ids=()))
    # Stop tokens that some rows meet early and others late.
    stops = tuple(
        dict.fromkeys(answer.token_ids[place] for answer, place in zip(long, (2, 5, 9, 14, 20), strict=False))
    )
    answers = TorchEngine(model, pad_id=0).generate(asked, Sampling(max_new_tokens=30, stop_ids=stops))
    lengths = set()
    for whole, answer in zip(long, answers, strict=True):
        ends = [place for place, token in enumerate(whole.token_ids) if token in stops]
        expected = whole.token_ids[: ends[0] + 1] if ends else whole.token_ids
        assert answer.token_ids == expected
        assert answer.finish_reason == ("stop" if ends else "length")
        assert answer.logps == pytest.approx(whole.logps[: len(expected)], abs=1e-4)
        lengths.add(len(expected))
    assert len(lengths) > 2


def test_log_probs_are_the_models_own() -> None:
    model = tiny_model("qwen3")
    (prompt,) = prompts(8)
    sampling = Sampling(max_new_tokens=6, stop_ids=(), do_sample=True, temperature=0.7, repetition_penalty=1.3)
    (answer,) = TorchEngine(model, pad_id=0).generate([prompt], sampling)
    ids = torch.tensor([[*prompt, *answer.token_ids]])
    with torch.no_grad():
        logps = model(ids).logits.float().log_softmax(-1)[0, len(prompt) - 1 : -1]
    expected = logps.gather(-1, torch.tensor(answer.token_ids)[:, None])[:, 0]
    assert list(answer.logps) == pytest.approx(expected.tolist(), abs=1e-4)


def test_sampling_is_seeded_row_by_row() -> None:
    engine = TorchEngine(tiny_model("llama"), pad_id=0)
    asked = prompts(5, 9, 9)
    settings = {"max_new_tokens": 10, "stop_ids": (), "do_sample": True, "temperature": 1.5}
    first = engine.generate(asked, Sampling(**settings, seed=1))  # type: ignore[arg-type]
    again = engine.generate(asked, Sampling(**settings, seed=1))  # type: ignore[arg-type]
    other = engine.generate(asked, Sampling(**settings, seed=2))  # type: ignore[arg-type]
    assert [answer.token_ids for answer in first] == [answer.token_ids for answer in again]
    assert [answer.token_ids for answer in first] != [answer.token_ids for answer in other]
    same = engine.generate([asked[1]] * 3, Sampling(**settings, seed=1))  # type: ignore[arg-type]
    assert len({answer.token_ids for answer in same}) == 3
    assert tuple(engine.stream(asked[0], Sampling(**settings, seed=1))) == first[0].token_ids  # type: ignore[arg-type]


def test_narrow_sampling_is_greedy() -> None:
    engine = TorchEngine(tiny_model("llama"), pad_id=0)
    asked = prompts(7, 3)
    greedy = [answer.token_ids for answer in engine.generate(asked, GREEDY)]
    for narrow in ({"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}):
        sampling = Sampling(max_new_tokens=12, stop_ids=(3,), do_sample=True, **narrow)
        assert [answer.token_ids for answer in engine.generate(asked, sampling)] == greedy


def test_repetition_penalty_equals_transformers() -> None:
    model = tiny_model("llama")
    asked = prompts(7, 12)
    sampling = Sampling(max_new_tokens=15, stop_ids=(3,), repetition_penalty=1.8)
    for prompt, answer in zip(asked, TorchEngine(model, pad_id=0).generate(asked, sampling), strict=True):
        assert list(answer.token_ids) == plain_generate(model, prompt, max_new_tokens=15, repetition_penalty=1.8)


def test_streaming_gives_the_same_tokens_and_can_be_left() -> None:
    model = tiny_model("llama")
    engine = TorchEngine(model, pad_id=0)
    (prompt,) = prompts(9)
    model.train()
    model.get_submodule("model.layers.0").eval()
    modes = [module.training for module in model.modules()]
    stream = engine.stream(prompt, GREEDY)
    assert isinstance(stream, Generator)
    begun = [next(stream), next(stream)]
    stream.close()
    assert [module.training for module in model.modules()] == modes
    (answer,) = engine.generate([prompt], GREEDY)
    assert begun == list(answer.token_ids[:2])
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())


def test_answers_end_where_the_positions_end() -> None:
    model = tiny_model("llama")
    limit = model.config.max_position_embeddings
    engine = TorchEngine(model, pad_id=0)
    (prompt,) = prompts(limit - 5)
    (answer,) = engine.generate([prompt], Sampling(max_new_tokens=50, stop_ids=()))
    assert (len(answer.token_ids), answer.finish_reason) == (5, "length")
    with pytest.raises(TunesmithError) as caught:
        engine.generate(prompts(3, limit), GREEDY)
    assert caught.value.problems[0].code == "engine.prompt_long"


def test_more_prompts_than_fit_a_batch_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    asked = prompts(5, 20, 3, 8, 13)
    expected = TorchEngine(model, pad_id=0).generate(asked, GREEDY)
    monkeypatch.setattr("tunesmith.engines.torch.MAX_ROWS", 2)
    answers = TorchEngine(model, pad_id=0).generate(asked, GREEDY)
    assert [answer.token_ids for answer in answers] == [answer.token_ids for answer in expected]
    assert TorchEngine(model, pad_id=0).generate([], GREEDY) == []


def test_loaded_weights_are_used() -> None:
    model, other = tiny_model("llama"), tiny_model("llama")
    with torch.no_grad():
        other.get_input_embeddings().weight.add_(torch.randn(1) * 0.5).mul_(-1)
    asked = prompts(9, 4)
    wanted = [answer.token_ids for answer in TorchEngine(other, pad_id=0).generate(asked, GREEDY)]
    engine = TorchEngine(model, pad_id=0)
    assert [answer.token_ids for answer in engine.generate(asked, GREEDY)] != wanted
    engine.load_weights(dict(other.named_parameters()))
    assert [answer.token_ids for answer in engine.generate(asked, GREEDY)] == wanted
