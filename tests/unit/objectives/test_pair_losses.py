# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Each loss over pairs equals its formula in NumPy, forward and gradient, over the whole step or a part of it."""

import math

import numpy as np
import pytest
import torch

from tests.unit.objectives.pair_reference import LOSSES, Array, Numbers, gradient, losses
from tunesmith.objectives.pair_losses.base import PairLoss, PairSettings, PairSums, pair_losses
from tunesmith.objectives.statistics import Statistics, join_statistics

NAMES = pair_losses.names()
NUMBERS = [
    Numbers(),
    Numbers(beta=0.5, smoothing=0.2, gamma=1.5, alpha=0.3, tau=0.7),
    Numbers(beta=2.0, smoothing=0.05, gamma=0.0, alpha=0.0, tau=2.0),
]


def make_sums(num_pairs: int = 7) -> tuple[Array, Array]:
    generator = np.random.default_rng(4)
    counts = generator.integers(3, 15, (2, num_pairs)).astype(np.float64)
    references = -counts * generator.uniform(0.5, 2.0, (2, num_pairs))
    policies = references + generator.normal(0.3, 1.0, (2, num_pairs))
    return np.concatenate([np.minimum(policies, -0.1), references]), counts


def to_pairs(sums: Array, counts: Array, *, grad: bool = True) -> tuple[PairSums, torch.Tensor]:
    policy = torch.tensor(sums[:2], requires_grad=grad)
    fixed, numbers = torch.tensor(sums[2:]), torch.tensor(counts)
    pairs = PairSums(
        policy_chosen_P=policy[0],
        policy_rejected_P=policy[1],
        reference_chosen_P=fixed[0],
        reference_rejected_P=fixed[1],
        chosen_tokens_P=numbers[0],
        rejected_tokens_P=numbers[1],
    )
    return pairs, policy


def build(name: str, numbers: Numbers) -> PairLoss:
    kind = pair_losses.get(name)
    return kind(
        PairSettings(
            beta=numbers.beta,
            label_smoothing=numbers.smoothing,
            simpo_gamma=numbers.gamma,
            cpo_alpha=numbers.alpha,
            discopop_tau=numbers.tau,
        )
    )


def for_loss(loss: PairLoss, sums: Array) -> Array:
    """Take the reference away where the loss has none."""
    return sums if loss.needs_reference else np.concatenate([sums[:2], np.zeros_like(sums[2:])])


def test_every_loss_has_its_independent_formula() -> None:
    assert sorted(LOSSES) == NAMES


@pytest.mark.parametrize("numbers", NUMBERS)
@pytest.mark.parametrize("name", NAMES)
def test_loss_and_gradient_equal_the_formula(name: str, numbers: Numbers) -> None:
    loss = build(name, numbers)
    made, counts = make_sums()
    sums = for_loss(loss, made)
    pairs, policy = to_pairs(sums, counts)
    found = loss.losses(pairs, loss.step_statistics(to_pairs(sums, counts, grad=False)[0]))
    (slope,) = torch.autograd.grad(found.sum(), policy)
    assert found.detach().numpy() == pytest.approx(losses(name, sums, counts, numbers), abs=1e-6)
    assert slope.numpy() == pytest.approx(gradient(name, sums, counts, numbers), abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_parts_of_a_step_add_up_to_the_step(name: str) -> None:
    loss = build(name, NUMBERS[1])
    made, counts = make_sums()
    sums = for_loss(loss, made)
    parts = [slice(0, 3), slice(3, 4), slice(4, 4), slice(4, 7)]
    statistics = join_statistics(loss.step_statistics(to_pairs(sums[:, p], counts[:, p], grad=False)[0]) for p in parts)
    found = torch.cat([loss.losses(to_pairs(sums[:, p], counts[:, p])[0], statistics) for p in parts])
    assert found.detach().numpy() == pytest.approx(losses(name, sums, counts, NUMBERS[1]), abs=1e-6)


# What policy = reference implies, with β = 0.1 and no smoothing.
AT_REFERENCE = {
    "sigmoid": math.log(2),
    "hinge": 1.0,
    "ipo": 25.0,
    "kto_pair": 0.5,
    "robust": math.log(2),
    "exo": 0.5 * math.log(0.5 / 0.999) + 0.5 * math.log(0.5 / 0.001),
    "nca": 2 * math.log(2),
    "bco": 2 * math.log(2),
    "sppo": 50.0,
    "aot": math.log(2),
    "apo_zero": 1.0,
    "apo_down": 1.0,
    "discopop": 0.5 * math.log(2) + 0.5,
    "sigmoid_norm": math.log(2),
}


@pytest.mark.parametrize("name", AT_REFERENCE)
def test_equal_policy_and_reference_give_the_known_loss(name: str) -> None:
    loss = build(name, NUMBERS[0])
    made, counts = make_sums()
    pairs, _ = to_pairs(np.concatenate([made[2:], made[2:]]), counts, grad=False)
    assert loss.losses(pairs, loss.step_statistics(pairs)).numpy() == pytest.approx(AT_REFERENCE[name], abs=1e-6)
    chosen, rejected = loss.rewards(pairs)
    assert chosen.abs().max() == 0 and rejected.abs().max() == 0


def test_losses_with_a_reference_are_all_named_above() -> None:
    assert sorted(AT_REFERENCE) == [name for name, kind in pair_losses.items() if kind.needs_reference]


@pytest.mark.parametrize("name", NAMES)
def test_extreme_log_probs_stay_finite(name: str) -> None:
    loss = build(name, NUMBERS[0])
    sums = np.array([[-1e-9, -400.0], [-400.0, -1e-9], [-200.0, -200.0], [-200.0, -200.0]])
    pairs, policy = to_pairs(for_loss(loss, sums), np.full((2, 2), 5.0))
    found = loss.losses(
        pairs, loss.step_statistics(to_pairs(for_loss(loss, sums), np.full((2, 2), 5.0), grad=False)[0])
    )
    (slope,) = torch.autograd.grad(found.sum(), policy)
    assert found.isfinite().all() and slope.isfinite().all()


def test_equal_margins_of_aot_share_their_references() -> None:
    loss = build("aot", NUMBERS[0])
    sums = np.array([[-5.0, -5.0, -9.0], [-7.0, -7.0, -3.0], [-6.0, -4.0, -2.0], [-6.0, -6.0, -6.0]])
    pairs, _ = to_pairs(sums, np.full((2, 3), 4.0), grad=False)
    found = loss.losses(pairs, loss.step_statistics(pairs)).numpy()
    expected = [math.log1p(math.exp(-0.1 * (margin - reference))) for margin, reference in ((2, 3), (2, 3), (-6, 0))]
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_offset_of_bco_is_the_mean_of_the_whole_run() -> None:
    loss = build("bco", NUMBERS[0])
    made, counts = make_sums()
    pairs, _ = to_pairs(made, counts, grad=False)
    earlier = Statistics(running={"bco reward": (30.0, 10.0)})
    known = join_statistics([earlier, loss.step_statistics(pairs)])
    rewards = torch.cat(loss.rewards(pairs))
    assert known.running_mean("bco reward") == pytest.approx((30.0 + float(rewards.sum())) / (10 + len(rewards)))
    assert not torch.allclose(loss.losses(pairs, known), loss.losses(pairs, loss.step_statistics(pairs)))
