# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""NEFTune: the noise has the size of each token's own sequence, and only while training."""

import math

import pytest
import torch
from torch import Tensor

from tests.unit.training.runs import tiny_model
from tunesmith.core.types import NO_PARENT, ForestLayout
from tunesmith.models.anatomy import backbone, decoder_layers
from tunesmith.models.attention.forest import layout_mask
from tunesmith.models.neftune import Neftune, sequence_lengths

PACKED = ForestLayout(starts=(0, 4, 6, 9), ends=(4, 6, 9, 16), parents=(NO_PARENT, 0, 0, NO_PARENT))
PACKED_LENGTHS = [7] * 4 + [6] * 2 + [7] * 3 + [7] * 7


def test_a_token_has_the_length_of_its_own_sequence() -> None:
    ids = torch.zeros(2, 5, dtype=torch.long)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    assert sequence_lengths(ids, mask, None).tolist() == [[3] * 5, [5] * 5]
    assert sequence_lengths(ids, None, None).tolist() == [[5] * 5] * 2
    assert sequence_lengths(torch.zeros(1, 16), layout_mask(torch.device("cpu")), PACKED).tolist() == [PACKED_LENGTHS]


def embedded(*, trains: bool, seed: int = 5) -> tuple[Tensor, Tensor]:
    model = tiny_model()
    seen: list[Tensor] = []
    plain = model.get_input_embeddings()(torch.arange(16)[None])
    Neftune(model, alpha=5.0)
    _, layers = decoder_layers(model)
    layers[0].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    model.train(trains)
    torch.manual_seed(seed)
    backbone(model)(input_ids=torch.arange(16)[None], attention_mask=layout_mask(torch.device("cpu")), layout=PACKED)
    return plain, seen[0]


def test_the_noise_is_that_of_the_paper() -> None:
    plain, noisy = embedded(trains=True)
    bounds = torch.tensor([5.0 / math.sqrt(length * 32) for length in PACKED_LENGTHS])
    noise = (noisy - plain)[0]
    assert (noise.abs().amax(dim=-1) <= bounds + 1e-6).all()
    assert noise.abs().amax(dim=-1).min() > 0.7 * bounds.min()  # 32 draws come near the bound
    again = embedded(trains=True)[1]
    assert torch.equal(noisy, again) and not torch.equal(noisy, embedded(trains=True, seed=6)[1])


def test_there_is_no_noise_outside_training() -> None:
    plain, same = embedded(trains=False)
    assert torch.equal(plain, same)


@pytest.mark.parametrize("trains", [True, False])
def test_it_can_be_taken_away(trains: bool) -> None:
    model = tiny_model().train(trains)
    plain = backbone(model)(input_ids=torch.arange(9)[None]).last_hidden_state
    noise = Neftune(model, alpha=5.0)
    noise.remove()
    assert torch.equal(plain, backbone(model)(input_ids=torch.arange(9)[None]).last_hidden_state)
