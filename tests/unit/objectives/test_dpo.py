# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Training on pairs: which pairs a batch has, what mixes and extra terms add, and the metrics, worked out by hand."""

from collections.abc import Sequence
from math import exp, log, log1p
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tunesmith.core.types import NO_PARENT, Batch, LayoutKind, RowRef, Scores, TokenRow
from tunesmith.data.collate import collate
from tunesmith.objectives.dpo import PreferenceOptimisation
from tunesmith.objectives.preference_params import PreferenceParams
from tunesmith.objectives.statistics import Statistics

# Row 0: a chosen answer of 2 tokens, rejected ones of 3 and 1. Row 1: 1 and 2 tokens.
POLICY = [-1.0, -2.0, -4.0, -1.0, -1.0, -5.0, -0.5, -3.0, -3.0]
REFERENCE = [-1.5, -2.5, -2.0, -1.0, -1.0, -4.0, -1.0, -3.0, -2.0]


def row(number: int, lengths: Sequence[int]) -> TokenRow:
    total = 2 + sum(lengths)
    return TokenRow(
        source=RowRef(dataset="made", file="made.jsonl", row=number),
        input_ids=np.arange(total, dtype=np.int32),
        weights=np.array([0, 0] + [1] * sum(lengths), dtype=np.float32),
        segment_lengths=(2, *lengths),
        segment_parents=(NO_PARENT, *(0,) * len(lengths)),
        segment_names=("prompt", "chosen", *("rejected",) * (len(lengths) - 1)),
    )


def batch_of(layout: LayoutKind = "packed") -> Batch:
    return collate([row(0, (2, 3, 1)), row(1, (1, 2))], layout=layout, pad_id=0)


def objective_with(**keys: Any) -> PreferenceOptimisation:
    return PreferenceOptimisation(PreferenceParams.model_validate(keys))


def loss_of(**keys: Any) -> tuple[float, dict[str, float]]:
    objective = objective_with(**keys)
    policy, reference = Scores(logps_N=torch.tensor(POLICY)), Scores(logps_N=torch.tensor(REFERENCE))
    batch = batch_of()
    assert objective.units(batch) == 3
    known = objective.step_statistics(batch, policy, reference)
    output = objective.loss(batch, policy, reference, known)
    return float(output.loss), {name: float(total) / float(count) for name, (total, count) in output.metrics.items()}


def logistic(*margins: float, beta: float = 0.1) -> float:
    return sum(log1p(exp(-beta * margin)) for margin in margins)


# Log-ratios: chosen 1, 0.5; rejected -2, -1, -1.
MARGINS = (1 - -2, 1 - -1, 0.5 - -1)


def test_each_rejected_answer_makes_a_pair() -> None:
    loss, metrics = loss_of()
    assert loss == pytest.approx(logistic(*MARGINS))
    assert metrics == pytest.approx(
        {
            "rewards/chosen": 0.1 * (1 + 1 + 0.5) / 3,
            "rewards/rejected": 0.1 * (-2 - 1 - 1) / 3,
            "rewards/margins": 0.1 * sum(MARGINS) / 3,
            "rewards/accuracies": 1.0,
            "rules/longer_wins": 1 / 3,
            "logps/chosen": (-3 - 3 - 0.5) / 3,
            "logps/rejected": (-6 - 5 - 6) / 3,
        }
    )


def test_a_mix_is_the_weighed_sum() -> None:
    alone = {name: loss_of(pref_loss=name)[0] for name in ("sigmoid", "kto_pair", "simpo")}
    mixed, _ = loss_of(pref_loss=list(alone), pref_loss_weights=[0.5, 2.0, 1.0])
    assert mixed == pytest.approx(0.5 * alone["sigmoid"] + 2 * alone["kto_pair"] + alone["simpo"])
    assert loss_of(pref_loss="sigmoid,simpo")[0] == pytest.approx(alone["sigmoid"] + alone["simpo"])


def test_the_extra_terms_have_llamafactorys_meaning() -> None:
    plain, bco = loss_of()[0], loss_of(pref_loss="bco")[0]
    assert loss_of(pref_bco_weight=0.6)[0] == pytest.approx((plain + 0.6 * bco) / 1.6)
    assert loss_of(pref_ftx=0.5)[0] == pytest.approx(plain + 0.5 * (1.5 + 1.5 + 0.5))


def test_tokens_beyond_the_shorter_answer_weigh_less_on_both_sides() -> None:
    # Pairs: 2 against 3 tokens, 2 against 1, 1 against 2; the tails' log-ratios are 0, 0.5 and -1.
    margins = (1 - (-2 + 0.0), (0.5 + 0.2 * 0.5) - -1, 0.5 - (0.0 + 0.2 * -1))
    assert loss_of(ld_alpha=0.2)[0] == pytest.approx(logistic(*margins))
    assert loss_of(ld_alpha=1.0)[0] == pytest.approx(loss_of()[0])


def test_without_a_reference_only_the_policy_counts() -> None:
    assert loss_of(reference_free=True)[0] == pytest.approx(logistic(-3 + 6, -3 + 5, -0.5 + 6))
    assert not objective_with(pref_loss=("orpo",)).needs_reference
    assert objective_with(pref_loss=("orpo",), pref_bco_weight=1.0).needs_reference


def test_equal_scores_give_ln_2_and_no_margin() -> None:
    objective = objective_with(ld_alpha=0.3)
    output = objective.at_reference(batch_of(), Scores(logps_N=torch.tensor(POLICY)))
    assert float(output.loss) / 3 == pytest.approx(log(2)) and float(output.metrics["rewards/margins"][0]) == 0


def test_plain_sums_need_no_statistics() -> None:
    scores = Scores(logps_N=torch.tensor(POLICY))
    for names, is_plain in ((("sigmoid", "ipo"), True), (("sigmoid", "aot"), False), (("bco",), False)):
        objective = objective_with(pref_loss=names)
        assert objective.step_statistics(batch_of(), scores, scores).is_empty() is is_plain is objective.is_plain_sum
    assert Statistics().mean("anything") == 0


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"pref_loss": "hinge", "dpo_label_smoothing": 0.1}, "no effect on hinge"),
        ({"pref_loss": "sigmoid,hinge", "pref_loss_weights": [1.0]}, "1 weights for 2"),
        ({"pref_loss": "sigmoid,sigmoid"}, "twice"),
        ({"dpo_label_smoothing": 0.5}, "less than 0.5"),
    ],
)
def test_contradictions_are_refused(keys: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        PreferenceParams.model_validate(keys)
