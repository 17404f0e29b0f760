# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The verification of a saved model: near ties of rounding are forgiven, every other change of choice counts."""

import pytest
import torch
from torch import Tensor

from tests.unit.models.tiny_models import tiny_model
from tunesmith.core.errors import TunesmithError
from tunesmith.models.verify import (
    LogitComparison,
    check_merge,
    check_saved,
    compare_logits,
    comparison_dtype,
    largest_difference,
    probe_logits,
    probe_texts,
    tie_gaps,
)


def random_logits(tokens: int = 200, vocabulary: int = 50) -> Tensor:
    return torch.randn(tokens, vocabulary, generator=torch.Generator().manual_seed(0)) * 3


def moved(logits: Tensor, size: float, seed: int = 1) -> Tensor:
    return logits + size * torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed))


def test_probe_texts_are_of_several_domains() -> None:
    assert len(probe_texts()) == 8 and all(len(text) > 30 for text in probe_texts())


def test_equal_logits_agree() -> None:
    logits = random_logits()
    comparison = compare_logits([logits], [logits])
    assert comparison == LogitComparison(top1_agreement=1.0, mean_kl=0.0, num_tokens=200, num_ties=0)


def test_kl_is_that_of_torch() -> None:
    logits, other = random_logits(), moved(random_logits(), 0.3)
    expected = torch.nn.functional.kl_div(
        other.log_softmax(-1), logits.log_softmax(-1), log_target=True, reduction="batchmean"
    )
    assert compare_logits([logits[:90], logits[90:]], [other[:90], other[90:]]).mean_kl == pytest.approx(
        float(expected)
    )


def test_changes_within_the_rounding_are_ties_and_larger_ones_count() -> None:
    logits = random_logits()
    gaps = tie_gaps([logits], [moved(logits, 0.05, seed=2) + 7.0])  # a common shift is no error
    assert 0.1 < float(gaps[0].mean()) < 0.3
    rounded = compare_logits([logits], [moved(logits, 0.03)], gaps)
    assert rounded.top1_agreement == 1.0 and rounded.num_ties > 0
    assert compare_logits([logits], [moved(logits, 0.03)]).top1_agreement < 1.0
    wrong = logits.clone()
    wrong[17, logits[17].argmin()] = 30.0
    assert compare_logits([logits], [wrong], gaps).top1_agreement == pytest.approx(199 / 200)


def test_limits() -> None:
    fine = {"top1_agreement": 1.0, "mean_kl": 1e-4, "num_tokens": 400, "num_ties": 0}
    check_saved(LogitComparison(**fine))  # type: ignore[arg-type]
    check_merge(9e-5, dtype=torch.float64)
    check_merge(9e-4, dtype=torch.float32)
    for bad in ({"top1_agreement": 0.9975}, {"mean_kl": 2e-3}, {"mean_kl": float("nan")}):
        with pytest.raises(TunesmithError, match="verification failed"):
            check_saved(LogitComparison(**{**fine, **bad}))  # type: ignore[arg-type]
    for difference in (2e-4, float("inf")):
        with pytest.raises(TunesmithError, match="change the logits"):
            check_merge(difference, dtype=torch.float64)


def test_a_logit_that_is_no_number_is_the_largest_difference() -> None:
    logits = random_logits()
    broken = logits.clone()
    broken[3, 3] = float("nan")
    assert largest_difference([logits], [logits + 0.5]) == pytest.approx(0.5, abs=1e-6)
    assert largest_difference([logits], [broken]) == float("inf")


def test_computing_in_another_format_leaves_the_model_as_it_was() -> None:
    model = tiny_model("llama", tie_word_embeddings=True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ids = torch.arange(5)[None]
    (exact,) = probe_logits(model, [ids], dtype=torch.float64)
    (plain,) = probe_logits(model, [ids], dtype=torch.float32)
    assert exact.dtype == torch.float64 and 0 < (exact - plain).abs().max() < 1e-5
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.lm_head.weight is model.model.embed_tokens.weight


class SmallMemory:
    """What psutil says of a machine with little memory left."""

    available = 1000


def test_float64_only_where_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert comparison_dtype(tiny_model("llama")) == torch.float64
    monkeypatch.setattr("psutil.virtual_memory", SmallMemory)
    assert comparison_dtype(tiny_model("llama")) == torch.float32
