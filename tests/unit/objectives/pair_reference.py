# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Every loss over pairs once more, from its paper, in NumPy and float64, and its gradient by central differences.

A function takes the sums of policy and reference, [4, P] (policy chosen, policy rejected, reference chosen, reference
rejected), the token counts [2, P], and gives the losses [P]. Sums over the step are frozen by the caller.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Numbers:
    beta: float = 0.1
    smoothing: float = 0.0
    gamma: float = 0.5
    alpha: float = 1.0
    tau: float = 0.05


@dataclass(frozen=True, kw_only=True)
class Given:
    """Log-ratios c and r, the policy's log-probs, the token counts, the numbers, and the sums at the frozen point."""

    sums: Array
    counts: Array
    numbers: Numbers
    frozen: Array

    @property
    def c(self) -> Array:
        ratios: Array = self.sums[0] - self.sums[2]
        return ratios

    @property
    def r(self) -> Array:
        ratios: Array = self.sums[1] - self.sums[3]
        return ratios

    @property
    def logits(self) -> Array:
        return self.numbers.beta * (self.c - self.r)


def sigmoid(x: Array) -> Array:
    values: Array = 1 / (1 + np.exp(-x))
    return values


def log_sigmoid(x: Array) -> Array:
    values: Array = -np.logaddexp(0.0, -x)
    return values


def smoothed(logits: Array, smoothing: float) -> Array:
    return -(1 - smoothing) * log_sigmoid(logits) - smoothing * log_sigmoid(-logits)


def exo(g: Given) -> Array:
    smoothing = g.numbers.smoothing or 1e-3
    q = np.stack([sigmoid(g.logits), sigmoid(-g.logits)])
    p = np.array([[1 - smoothing], [smoothing]])
    divergence: Array = (q * np.log(q / p)).sum(axis=0)
    return divergence


def robust(g: Given) -> Array:
    e = g.numbers.smoothing
    return (-(1 - e) * log_sigmoid(g.logits) + e * log_sigmoid(-g.logits)) / (1 - 2 * e)


def nca(g: Given) -> Array:
    b = g.numbers.beta
    return -log_sigmoid(b * g.c) - (log_sigmoid(-b * g.c) + log_sigmoid(-b * g.r)) / 2


def bco(g: Given) -> Array:
    b, at = g.numbers.beta, g.frozen
    offset = np.concatenate([b * (at[0] - at[2]), b * (at[1] - at[3])]).mean()
    return -log_sigmoid(b * g.c - offset) - log_sigmoid(-(b * g.r - offset))


def kto_pair(g: Given) -> Array:
    b, at = g.numbers.beta, g.frozen
    of_chosen, of_rejected = max(0.0, (at[0] - at[2]).mean()), max(0.0, (at[1] - at[3]).mean())
    return (1 - sigmoid(b * (g.c - of_rejected))) / 2 + (1 - sigmoid(b * (of_chosen - g.r))) / 2


def aot(g: Given) -> Array:
    margins, rank = g.sums[0] - g.sums[1], np.argsort(np.argsort(g.frozen[0] - g.frozen[1]))
    references = np.sort(g.frozen[2] - g.frozen[3])[rank]
    return smoothed(g.numbers.beta * (margins - references), g.numbers.smoothing)


def discopop(g: Given) -> Array:
    share = sigmoid(g.logits / g.numbers.tau)
    losses: Array = -log_sigmoid(g.logits) * (1 - share) + np.exp(-g.logits) * share
    return losses


def mean_delta(g: Given) -> Array:
    delta: Array = g.c / g.counts[0] - g.r / g.counts[1]
    return delta


def policy_means(g: Given) -> Array:
    means: Array = g.sums[:2] / g.counts
    return means


def orpo(g: Given) -> Array:
    chosen, rejected = np.exp(policy_means(g))
    odds = (chosen / (1 - chosen)) / (rejected / (1 - rejected))
    losses: Array = -np.log(chosen) - g.numbers.beta * np.log(sigmoid(np.log(odds)))
    return losses


def simpo(g: Given) -> Array:
    chosen, rejected = policy_means(g)
    return -log_sigmoid(g.numbers.beta * (chosen - rejected) - g.numbers.gamma)


def cpo(g: Given) -> Array:
    chosen, rejected = g.sums[:2]
    losses: Array = -log_sigmoid(g.numbers.beta * (chosen - rejected)) - g.numbers.alpha * policy_means(g)[0]
    return losses


LOSSES: Mapping[str, Callable[[Given], Array]] = {
    "sigmoid": lambda g: smoothed(g.logits, g.numbers.smoothing),
    "hinge": lambda g: np.maximum(0.0, 1 - g.logits),
    "ipo": lambda g: (mean_delta(g) - 1 / (2 * g.numbers.beta)) ** 2,
    "kto_pair": kto_pair,
    "robust": robust,
    "exo": exo,
    "nca": nca,
    "bco": bco,
    "sppo": lambda g: (g.c - 0.5 / g.numbers.beta) ** 2 + (g.r + 0.5 / g.numbers.beta) ** 2,
    "aot": aot,
    "apo_zero": lambda g: (1 - sigmoid(g.numbers.beta * g.c)) + sigmoid(g.numbers.beta * g.r),
    "apo_down": lambda g: sigmoid(g.numbers.beta * g.c) + (1 - sigmoid(g.logits)),
    "discopop": discopop,
    "sigmoid_norm": lambda g: -log_sigmoid(g.numbers.beta * mean_delta(g)),
    "orpo": orpo,
    "simpo": simpo,
    "cpo": cpo,
}


def losses(name: str, sums: Array, counts: Array, numbers: Numbers, *, frozen: Array | None = None) -> Array:
    """Compute the losses of the pairs."""
    given = Given(sums=sums, counts=counts, numbers=numbers, frozen=sums if frozen is None else frozen)
    return LOSSES[name](given)


def gradient(name: str, sums: Array, counts: Array, numbers: Numbers, *, step: float = 1e-4) -> Array:
    """Differentiate the sum of the losses by the policy's sums [2, P], to fourth order."""
    found = np.zeros_like(sums[:2])
    for place in np.ndindex(*found.shape):

        def at(distance: float, place: tuple[int, ...] = place) -> float:
            moved = sums.copy()
            moved[place] += distance
            return float(losses(name, moved, counts, numbers, frozen=sums).sum())

        found[place] = (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)
    return found
