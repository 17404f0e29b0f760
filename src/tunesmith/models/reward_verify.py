# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Does a merged or saved reward model give the rewards that base and adapter gave? Judged at every token of the probes.

Rewards have no scale of their own, so the error of a saved folder is measured against their spread: the root mean
square of the difference over the standard deviation of the rewards.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tunesmith.core.errors import refusal
from tunesmith.models.anatomy import backbone
from tunesmith.models.reward_head import values_of
from tunesmith.models.verify import computing_in

# What storing weights in a format may do to rewards, in shares of their spread.
MAX_ERROR = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}


@dataclass(frozen=True, kw_only=True)
class RewardComparison:
    """How the rewards of a candidate differ from a reference's, over all probe tokens."""

    max_abs_diff: float
    relative_error: float
    num_tokens: int


@torch.no_grad()
def probe_values(model: nn.Module, probes: Sequence[Tensor], *, dtype: torch.dtype) -> list[Tensor]:
    """Compute the value at each token of each probe alone in `dtype`; the model is left as it was."""
    device = next(model.parameters()).device
    with computing_in(model, dtype):
        states = [backbone(model)(input_ids=ids.to(device), use_cache=False).last_hidden_state[0] for ids in probes]
        return [values_of(model, states_TD).cpu() for states_TD in states]


def compare_values(reference: Sequence[Tensor], candidate: Sequence[Tensor]) -> RewardComparison:
    """Compare the values of all tokens."""
    expected, found = torch.cat(list(reference)).double(), torch.cat(list(candidate)).double()
    difference = found - expected
    return RewardComparison(
        max_abs_diff=float(difference.abs().max()),
        relative_error=float(difference.square().mean().sqrt() / expected.std().clamp(min=1e-12)),
        num_tokens=len(expected),
    )


def check_saved_rewards(comparison: RewardComparison, dtype: torch.dtype) -> None:
    """Refuse a saved folder that judges differently from the model it was saved from."""
    allowed = MAX_ERROR[dtype]
    if not comparison.relative_error <= allowed:
        raise refusal(
            "export.merge_differs",
            f"The verification failed: on {comparison.num_tokens} probe tokens the rewards of the saved folder are off "
            f"by {comparison.relative_error:.2%} of their spread (allowed {allowed:.2%}). Nothing was exported.",
            "Try infer_dtype: float32, or look whether the adapter belongs to this base model.",
        )
