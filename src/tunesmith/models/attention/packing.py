# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""May a model's rows be packed? By a list of tried architectures, and by a trial on the model itself."""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.core.types import NO_PARENT, ForestLayout
from tunesmith.models.anatomy import backbone, base_model
from tunesmith.models.attention.families import FOREST_TYPES, why_padded
from tunesmith.models.attention.forest import FOREST_NAMES, layout_mask

# Largest relative difference of a final hidden state that rounding explains; contamination gives 0.1 and more.
_TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}

# Window of sliding layers during the trial: its rows are shorter than any real window, and must be longer than this.
_WINDOW = 8
_SEGMENT_LENGTHS = (17, 9, 11, 23, 6, 5)
_SEGMENT_PARENTS = (NO_PARENT, 0, 0, NO_PARENT, 2, NO_PARENT)


@dataclass(frozen=True, kw_only=True)
class PackingReport:
    """Outcome of the trial: the largest relative difference of a packed token's hidden state from the separate one."""

    is_equal: bool
    difference: float
    tolerance: float
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Give the fields as a JSON object."""
        return asdict(self)


def can_pack(model: nn.Module) -> tuple[bool, str]:
    """Say whether packing may be tried with this model, and why (not)."""
    config = base_model(model).config
    if config.model_type not in FOREST_TYPES:
        return False, why_padded(config.model_type)
    if config._attn_implementation not in FOREST_NAMES:
        return False, f"the model was loaded with {config._attn_implementation} attention"
    return True, f"models of type {config.model_type} read packed rows"


@torch.no_grad()
def self_test(model: nn.Module) -> PackingReport:
    """Compare a packed row with trees against each path alone, on the model as it is."""
    is_allowed, reason = can_pack(model)
    if not is_allowed:
        return PackingReport(is_equal=False, difference=float("inf"), tolerance=0.0, reason=reason)
    was_training = model.training
    model.eval()
    try:
        with _short_windows(model):
            difference = _largest_difference(backbone(model), _trial_layout())
    except RuntimeError as error:  # a kernel that this machine cannot run, or that cannot be compiled on it
        reason = f"the trial could not be run ({' '.join(str(error).split())[:200]})"
        return PackingReport(is_equal=False, difference=float("inf"), tolerance=0.0, reason=reason)
    finally:
        model.train(was_training)
    tolerance = _TOLERANCES.get(computed_dtype(model), _TOLERANCES[torch.float32])
    is_equal = difference <= tolerance
    verdict = "equal" if is_equal else "differ from"
    return PackingReport(
        is_equal=is_equal,
        difference=difference,
        tolerance=tolerance,
        reason=f"packed rows {verdict} separate rows (difference {difference:.1e}, allowed {tolerance:.0e})",
    )


@contextlib.contextmanager
def _short_windows(model: nn.Module) -> Iterator[None]:
    """Make sliding windows short for the trial, where the layers and the configuration keep them."""
    holders: list[Any] = [holder for holder in (base_model(model).config, *model.modules()) if _has_window(holder)]
    windows = [holder.sliding_window for holder in holders]
    try:
        for holder in holders:
            holder.sliding_window = _WINDOW
        yield
    finally:
        for holder, window in zip(holders, windows, strict=True):
            holder.sliding_window = window


def _has_window(holder: Any) -> bool:
    return type(holder.__dict__.get("sliding_window")) is int


def computed_dtype(model: nn.Module) -> torch.dtype:
    """Give the number format a model computes in: autocast's, or its weights'."""
    weight = next(backbone(model).parameters())
    is_automatic = torch.is_autocast_enabled(weight.device.type)
    return torch.get_autocast_dtype(weight.device.type) if is_automatic else weight.dtype


def _trial_layout() -> ForestLayout:
    ends = [sum(_SEGMENT_LENGTHS[: index + 1]) for index in range(len(_SEGMENT_LENGTHS))]
    starts = [end - length for end, length in zip(ends, _SEGMENT_LENGTHS, strict=True)]
    return ForestLayout(starts=tuple(starts), ends=tuple(ends), parents=_SEGMENT_PARENTS)


def _largest_difference(model: nn.Module, layout: ForestLayout) -> float:
    embeddings = model.get_input_embeddings()  # type: ignore[operator]
    device = embeddings.weight.device
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, embeddings.weight.shape[0], (1, layout.ends[-1]), generator=generator).to(device)
    positions = torch.from_numpy(layout.positions()).long()[None].to(device)
    packed = model(
        input_ids=ids, position_ids=positions, attention_mask=layout_mask(device), use_cache=False, layout=layout
    ).last_hidden_state
    largest = 0.0
    for segment in range(len(layout.starts)):
        path = [*layout.ancestors(segment), segment]
        places = torch.cat([torch.arange(layout.starts[i], layout.ends[i], device=device) for i in path])
        alone = model(input_ids=ids[:, places], use_cache=False).last_hidden_state
        largest = max(largest, _relative_difference(packed[0, places], alone[0]))
    return largest


def _relative_difference(states: Tensor, expected: Tensor) -> float:
    difference = (states.float() - expected.float()).norm(dim=-1) / expected.float().norm(dim=-1)
    return float(difference.max())
