# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The forest from rows to gradients: packed and padded batches of the same rows give the same scores and gradients.

Rows are those of training (collated by `data/`), preference pairs with a shared prompt among them; the attention and
the scorer are tried apart in the unit tests.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.unit.models.tiny_models import FAMILIES, VOCABULARY, WINDOW, own_attention, tiny_model
from tunesmith.core.types import NO_PARENT, LayoutKind, RowRef, TokenRow
from tunesmith.data.collate import collate
from tunesmith.models.anatomy import base_model
from tunesmith.models.attention.packing import self_test
from tunesmith.models.load import load_model
from tunesmith.models.scores import score_batch
from tunesmith.models.tuners.base import trained_parameters
from tunesmith.models.tuners.lora import LoraParams, LoraTuner

PLAIN = (NO_PARENT,)


def token_row(number: int, lengths: Sequence[int], parents: Sequence[int], vocabulary: int = VOCABULARY) -> TokenRow:
    """Make a row of random tokens whose second half of each segment is supervised, with uneven weights."""
    source = np.random.default_rng(number)
    weights = [np.where(np.arange(length) >= length // 2, source.uniform(0.5, 1.5, length), 0.0) for length in lengths]
    return TokenRow(
        source=RowRef(dataset="rows", file="rows.jsonl", row=number),
        input_ids=source.integers(3, vocabulary, sum(lengths)).astype(np.int32),
        weights=np.concatenate(weights).astype(np.float32),
        segment_lengths=tuple(lengths),
        segment_parents=tuple(parents),
        segment_names=("text",) if len(lengths) == 1 else ("prompt", "chosen", "rejected")[: len(lengths)],
    )


ROWS = {
    "sft": [token_row(0, [19], PLAIN), token_row(1, [3], PLAIN), token_row(2, [11], PLAIN), token_row(3, [1], PLAIN)],
    "preference": [token_row(4, [8, 5, 7], (NO_PARENT, 0, 0)), token_row(5, [2, 9, 4], (NO_PARENT, 0, 0))],
    "mixed": [token_row(6, [13], PLAIN), token_row(7, [6, 4, 1], (NO_PARENT, 0, 0)), token_row(8, [9], PLAIN)],
}


def loss_and_gradients(model: Any, rows: Sequence[TokenRow], layout: LayoutKind) -> tuple[Tensor, dict[str, Tensor]]:
    """Sum the weighted log-probs and entropies of a batch, and give the gradients of every trained weight."""
    batch = collate(rows, layout=layout, pad_id=0)
    assert (batch.layout is not None) == (layout == "packed")
    scores = score_batch(model, batch, needs_entropy=True, chunk=5)
    assert scores.entropy_N is not None
    loss = ((scores.logps_N + 0.1 * scores.entropy_N) * batch.target_weights_N).sum() / batch.num_tokens
    model.zero_grad()
    loss.backward()
    return loss.detach(), {
        name: value.grad.clone() for name, value in trained_parameters(model) if value.grad is not None
    }


def assert_equal(ours: tuple[Tensor, dict[str, Tensor]], theirs: tuple[Tensor, dict[str, Tensor]]) -> None:
    assert (ours[0] - theirs[0]).abs() < 1e-5
    assert ours[1].keys() == theirs[1].keys() and len(ours[1]) > 10
    for name, values in theirs[1].items():
        assert (ours[1][name] - values).abs().max() < 1e-5, name


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("family", ["llama", "qwen3", "mistral", "gemma2", "gemma3_text"])
def test_packed_batches_equal_padded_ones(family: str, kind: str) -> None:
    assert family in FAMILIES and max(row.num_tokens for row in ROWS[kind]) > 2 * WINDOW
    packed = loss_and_gradients(tiny_model(family), ROWS[kind], "packed")
    padded = loss_and_gradients(tiny_model(family, attention=own_attention(family)), ROWS[kind], "padded")
    assert_equal(packed, padded)


@pytest.mark.parametrize("kind", ROWS)
def test_one_packed_batch_equals_its_rows_apart(kind: str) -> None:
    rows, model = ROWS[kind], tiny_model("llama")
    together = loss_and_gradients(model, rows, "packed")
    apart = [loss_and_gradients(model, [row], "packed") for row in rows]
    shares = [row.num_tokens / sum(other.num_tokens for other in rows) for row in rows]
    loss = torch.stack([share * part[0] for share, part in zip(shares, apart, strict=True)]).sum()
    summed = {
        name: sum(
            (share * part[1].get(name, torch.zeros(())) for share, part in zip(shares, apart, strict=True)),
            torch.zeros(()),
        )
        for name in together[1]
    }
    assert_equal(together, (loss, summed))


def test_adapters_and_checkpointing_read_packed_rows() -> None:
    results = []
    for layout in ("packed", "padded"):
        params: Any = LoraParams
        tuner = LoraTuner(params(lora_rank=4), seed=3)
        model: Any = tuner.attach(tiny_model("llama"))
        with torch.no_grad():
            for number, (_, weight) in enumerate(trained_parameters(model)):
                weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(number)) * 0.1)
        base_model(model).gradient_checkpointing_enable({"use_reentrant": False})
        results.append(loss_and_gradients(model, ROWS["mixed"], layout))
        assert self_test(model).is_equal
    assert_equal(results[0], results[1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sft", "preference"])
def test_the_real_model(demo_model: Path, kind: str) -> None:
    """Gradients of the first layer have passed through all thirty."""
    model: Any = load_model(demo_model, dtype=torch.float32, device=torch.device("cpu"))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".layers.0." in name or name.endswith("embed_tokens.weight"))
    packed = loss_and_gradients(model, ROWS[kind], "packed")
    model.set_attn_implementation("sdpa")
    padded = loss_and_gradients(model, ROWS[kind], "padded")
    assert (packed[0] - padded[0]).abs() < 1e-5
    for name, values in padded[1].items():
        assert (packed[1][name] - values).norm() < 1e-5 * max(1.0, float(values.norm())), name
