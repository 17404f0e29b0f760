# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Every loss over answers gives the loss and gradients of the naive computation, in which no prompt is shared."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.unit.training.batches import make_feedback, make_pairs
from tests.unit.training.runs import tiny_model
from tunesmith.core.types import Batch, LayoutKind, Scores
from tunesmith.data.collate import collate
from tunesmith.data.mismatched import rows_for
from tunesmith.data.store import build_store
from tunesmith.models.scores import score_batch
from tunesmith.objectives.base import Objective, objectives
from tunesmith.objectives.pair_losses.base import pair_losses

LENGTHS = (6, 9, 4, 11)
CASES: list[tuple[str, dict[str, Any]]] = [
    *(("dpo", {"pref_loss": name}) for name in pair_losses.names()),
    ("dpo", {"pref_loss": "sigmoid,kto_pair", "pref_bco_weight": 0.5, "pref_ftx": 0.2, "ld_alpha": 0.3}),
    ("kto", {"pref_ftx": 0.1}),
]


def whole(objective: Objective, layout: LayoutKind) -> Batch:
    made = make_feedback(LENGTHS) if objective.row_kind == "feedback" else make_pairs(LENGTHS)
    rows = rows_for(type(objective), build_store(made))
    return collate([rows[number] for number in range(len(rows))], layout=layout, pad_id=0)


def naive(model: Any, batch: Batch) -> Tensor:
    """Score the answers of a packed batch with logits over whole sequences, each behind a prompt of its own."""
    assert batch.layout is not None
    layout, logps = batch.layout, []
    for segment in range(len(batch.segment_names)):
        targets = batch.target_ids_N[batch.target_segment_N == segment]
        if not len(targets):
            continue
        path = [*layout.ancestors(segment), segment]
        ids = torch.cat([batch.input_ids_BT[0, layout.starts[one] : layout.ends[one]] for one in path])
        logits_TV = model(input_ids=ids[None], use_cache=False).logits[0]
        assert torch.equal(ids[-len(targets) :], targets)
        logps.append(logits_TV[-len(targets) - 1 : -1].log_softmax(-1).gather(1, targets[:, None])[:, 0])
    return torch.cat(logps)


def gradients(model: nn.Module, objective: Objective, batch: Batch, logps_N: Tensor) -> tuple[float, list[Tensor]]:
    generator = torch.Generator().manual_seed(1)
    noise_N = 0.3 * torch.randn(len(logps_N), generator=generator)
    policy, reference = Scores(logps_N=logps_N), Scores(logps_N=logps_N.detach() + noise_N)
    still = replace(policy, logps_N=logps_N.detach())
    loss = objective.loss(batch, policy, reference, objective.step_statistics(batch, still, reference)).loss
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    return loss.item(), list(torch.autograd.grad(loss, weights))


@pytest.mark.parametrize(("stage", "keys"), CASES, ids=[f"{stage} {keys}" for stage, keys in CASES])
def test_shared_packed_padded_and_naive_are_the_same(stage: str, keys: dict[str, Any]) -> None:
    model = tiny_model()
    plain = tiny_model()
    plain.set_attn_implementation("sdpa")
    kind = objectives.get(stage)
    objective = kind(kind.Params.model_validate(keys))
    packed = whole(objective, "packed")
    expected_loss, expected = gradients(plain, objective, packed, naive(plain, packed))
    for layout, chunk in (("packed", None), ("padded", None), ("packed", 3)):
        batch = whole(objective, layout)  # type: ignore[arg-type]
        loss, found = gradients(model, objective, batch, score_batch(model, batch, chunk=chunk).logps_N)
        assert loss == pytest.approx(expected_loss, rel=1e-5, abs=1e-5)
        for mine, known in zip(found, expected, strict=True):
            assert torch.allclose(mine, known, atol=2e-5)
