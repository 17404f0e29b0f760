# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Every type in families.yaml reads packed rows and trees as its own attention reads each path alone."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.unit.models.attention.random_families import random_model
from tests.unit.models.tiny_models import VOCABULARY, tiny_model
from tunesmith.core.types import NO_PARENT, ForestLayout
from tunesmith.models.attention.families import FOREST_TYPES, PADDED_TYPES
from tunesmith.models.attention.forest import layout_mask
from tunesmith.models.attention.packing import can_pack
from tunesmith.models.head import check_head

# Two rows of one length, a row that is longer than every window, a tree whose children look past their parent's window.
LAYOUT = ForestLayout(
    starts=(0, 4, 8, 19, 25, 28, 34), ends=(4, 8, 19, 25, 28, 34, 37), parents=(NO_PARENT,) * 4 + (3, 3, 4)
)
LENGTH = LAYOUT.ends[-1]


def inner(model: Any) -> Any:
    return model.model if isinstance(getattr(model, "model", None), nn.Module) else model.base_model


def packed_states(model: Any, ids: Tensor, layout: ForestLayout) -> Tensor:
    states: Tensor = inner(model)(
        input_ids=ids,
        position_ids=torch.from_numpy(LAYOUT.positions()).long()[None],
        attention_mask=layout_mask(ids.device),
        use_cache=False,
        layout=layout,
    ).last_hidden_state[0]
    return states


def separate_states(model: Any, ids: Tensor) -> Tensor:
    parts = []
    for segment, (start, end) in enumerate(zip(LAYOUT.starts, LAYOUT.ends, strict=True)):
        spans = [(LAYOUT.starts[i], LAYOUT.ends[i]) for i in (*LAYOUT.ancestors(segment), segment)]
        path = torch.cat([ids[:, a:b] for a, b in spans], dim=1)
        parts.append(inner(model)(input_ids=path, use_cache=False).last_hidden_state[0, start - end :])
    return torch.cat(parts)


def gradients(model: Any, states: Tensor) -> dict[str, Tensor]:
    (states * torch.randn(states.shape, generator=torch.Generator().manual_seed(2))).mean().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("model_type", sorted(FOREST_TYPES))
def test_packed_equals_separate(model_type: str) -> None:
    ids = torch.randint(3, VOCABULARY, (1, LENGTH), generator=torch.Generator().manual_seed(1))
    forest, own = random_model(model_type, attention="forest"), random_model(model_type, attention="eager")
    packed, separate = packed_states(forest, ids, LAYOUT), separate_states(own, ids)
    assert (packed - separate).detach().abs().max() < 1e-5 * max(1.0, float(separate.detach().abs().max()))
    ours, theirs = gradients(forest, packed), gradients(own, separate)
    largest = max(float(values.abs().max()) for values in theirs.values())
    assert ours.keys() == theirs.keys() and len(ours) > 8
    for parameter, values in theirs.items():
        assert (ours[parameter] - values).abs().max() < 1e-5 * max(1.0, largest), parameter
    with torch.no_grad():  # a test that would not notice rows that see each other is none
        mixed = packed_states(forest, ids, ForestLayout(starts=(0,), ends=(LENGTH,), parents=(NO_PARENT,)))
    assert (mixed - separate).abs().max() > 1e-2


@pytest.mark.parametrize("model_type", sorted(FOREST_TYPES))
def test_the_scorer_knows_the_head_of_every_type(model_type: str) -> None:
    check_head(random_model(model_type, attention="forest"))


def test_no_type_is_listed_twice_and_each_reason_is_said() -> None:
    assert not FOREST_TYPES & PADDED_TYPES.keys()
    model = tiny_model("llama")
    model.config.model_type = "mamba"
    assert can_pack(model) == (
        False,
        "models of type mamba keep a state from token to token, which would run from row into row",
    )
