# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Scores batches by the policy as the objective needs them: log-probs, details of the vocabulary, or values.

A loss with a divergence is compared with the policy as it started; the first batch proves that both are the same then.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn

from tunesmith.core.errors import refusal
from tunesmith.core.types import Batch, Scores
from tunesmith.models.head import language_head
from tunesmith.models.scores import hidden_states, score_batch
from tunesmith.models.tuners.base import Tuner, trained_parameters
from tunesmith.models.values import score_values
from tunesmith.models.vocabulary_scores import ReferenceStates, score_vocabulary
from tunesmith.objectives.base import Objective

# How far from 0 the mean divergence may be before the first step; shorter formats round each hidden state.
TOLERANCE, SHORT_TOLERANCE = 1e-3, 2e-2


class PolicyScorer:
    """Scores by the policy; where the objective asks for it, beside the policy as it started."""

    def __init__(self, module: nn.Module, tuner: Tuner, objective: Objective, *, trains: bool) -> None:
        self._module, self._tuner, self._objective = module, tuner, objective
        self._is_trained = trains and bool(trained_parameters(module))  # else the policy is its own reference
        if "divergence" in objective.details and self._is_trained:
            tuner.remember_base(module)

    def score(self, model: nn.Module, batch: Batch) -> Scores:
        """Score a batch by `model`, which is the module or a wrapper around it."""
        if self._objective.head == "scalar":
            return score_values(model, batch)
        details = self._objective.details
        if not details:
            return score_batch(model, batch)
        reference = self._reference(batch) if "divergence" in details else None
        return score_vocabulary(model, batch, details, reference=reference)

    def check_start(self, batch: Batch) -> None:
        """Refuse to train when the first batch shows a divergence of the policy from itself."""
        if "divergence" not in self._objective.details or not self._is_trained or not len(batch.target_ids_N):
            return
        with evaluating(self._module):
            scores = self.score(self._module, batch)
        assert scores.divergence_N is not None, "the objective asked for it"
        found = float(scores.divergence_N.abs().mean())
        is_short = torch.is_autocast_enabled(scores.logps_N.device.type) or _is_short(self._module)
        allowed = SHORT_TOLERANCE if is_short else TOLERANCE
        if not found <= allowed:
            raise refusal(
                "training.reference_differs",
                f"Before the first step policy and reference must be the same model, but their mean divergence is "
                f"{found:.4g} (at most {allowed:g}).",
                "Nothing was trained. Please report this with the settings of the run.",
            )

    def _reference(self, batch: Batch) -> ReferenceStates:
        with evaluating(self._module), self._view():
            states_ND = hidden_states(self._module, batch).index_select(0, batch.source_index_N)
        head = language_head(self._module).module
        changes = self._is_trained and any(weight.requires_grad for weight in head.parameters())
        return ReferenceStates(states_ND=states_ND, view=self._view if changes else nullcontext)

    def _view(self) -> AbstractContextManager[None]:
        return self._tuner.base_view(self._module) if self._is_trained else nullcontext()


def _is_short(module: nn.Module) -> bool:
    return next(module.parameters()).dtype in (torch.bfloat16, torch.float16)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Compute without gradient and without dropout; no cast made inside is found by a later forward."""
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(was_training)
        torch.clear_autocast_cache()
