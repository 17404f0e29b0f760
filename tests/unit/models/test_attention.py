# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Packed rows and trees give the logits and gradients of separate rows, on every family that may be packed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.unit.models.tiny_models import FAMILIES, VOCABULARY, WINDOW, own_attention, tiny_model
from tunesmith.core.types import NO_PARENT, ForestLayout
from tunesmith.models.attention import cpu, forest
from tunesmith.models.attention.forest import layout_mask
from tunesmith.models.attention.packing import can_pack, self_test
from tunesmith.models.attention.pieces import cut
from tunesmith.models.attention.verdicts import trusted_self_test

CPU = torch.device("cpu")


def layout_of(lengths: list[int], parents: list[int]) -> ForestLayout:
    ends = [sum(lengths[: index + 1]) for index in range(len(lengths))]
    starts = [end - length for end, length in zip(ends, lengths, strict=True)]
    return ForestLayout(starts=tuple(starts), ends=tuple(ends), parents=tuple(parents))


LAYOUTS = {
    "rows": layout_of([17, 1, 9, 23], [NO_PARENT] * 4),
    "pair": layout_of([7, 5, 6, 9], [NO_PARENT, 0, 0, NO_PARENT]),
    "tree": layout_of([6, 4, 3, 8, 2, 5, 1], [NO_PARENT, 0, 1, 1, 0, NO_PARENT, 5]),
    "empty segments": layout_of([4, 0, 3, 3, 0], [NO_PARENT, 0, 1, 1, NO_PARENT]),
}


def random_ids(length: int) -> Tensor:
    return torch.randint(3, VOCABULARY, (1, length), generator=torch.Generator().manual_seed(1))


def packed_logits(model: Any, ids: Tensor, layout: ForestLayout, mask: Tensor | None) -> Tensor:
    positions = torch.from_numpy(layout.positions()).long()[None]
    states = model.base_model(
        input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False, layout=layout
    ).last_hidden_state
    logits: Tensor = model.lm_head(states)[0]
    return logits


def separate_logits(model: Any, ids: Tensor, layout: ForestLayout) -> Tensor:
    """Run every segment's path alone and keep the segment's own rows."""
    parts = []
    for segment, (start, end) in enumerate(zip(layout.starts, layout.ends, strict=True)):
        if end > start:
            spans = [(layout.starts[i], layout.ends[i]) for i in (*layout.ancestors(segment), segment)]
            path = torch.cat([ids[:, a:b] for a, b in spans], dim=1)
            parts.append(
                model.lm_head(model.base_model(input_ids=path, use_cache=False).last_hidden_state)[0, start - end :]
            )
    return torch.cat(parts)


def gradients(model: nn.Module, logits: Tensor) -> dict[str, Tensor]:
    weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))
    model.zero_grad()
    (torch.log_softmax(logits, dim=-1) * weights).mean().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_equals_separate(family: str, name: str) -> None:
    layout = LAYOUTS[name]
    ids = random_ids(layout.ends[-1])
    forest, plain = tiny_model(family), tiny_model(family, attention=own_attention(family))
    packed, separate = packed_logits(forest, ids, layout, layout_mask(CPU)), separate_logits(plain, ids, layout)
    assert (packed - separate).abs().max() < 1e-5 * max(1.0, float(separate.abs().max()))
    ours, theirs = gradients(forest, packed), gradients(plain, separate)
    assert ours.keys() == theirs.keys() and len(ours) > 10
    for parameter, values in theirs.items():
        assert (ours[parameter] - values).abs().max() < 1e-5, parameter


@pytest.mark.parametrize("family", ["mistral", "gemma2", "gemma3_text", "qwen2", "phi3"])
def test_windows_are_shorter_than_the_segments(family: str) -> None:
    """The test above would miss a forgotten window if none cut anything off."""
    layout = LAYOUTS["rows"]
    ids = random_ids(layout.ends[-1])
    assert max(b - a for a, b in zip(layout.starts, layout.ends, strict=True)) > 3 * WINDOW
    wide = tiny_model(family, sliding_window=100)
    difference = packed_logits(wide, ids, layout, None) - packed_logits(tiny_model(family), ids, layout, None)
    assert difference.abs().max() > 1e-2


def test_mask_may_be_left_out_and_checkpointing_changes_nothing() -> None:
    layout = LAYOUTS["tree"]
    ids = random_ids(layout.ends[-1])
    model = tiny_model("llama")
    plain = packed_logits(model, ids, layout, layout_mask(CPU))
    expected = gradients(model, plain)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    again = packed_logits(model, ids, layout, None)
    assert torch.equal(plain, again)
    for name, values in gradients(model, again).items():
        assert torch.equal(values, expected[name]), name


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2", "gemma3_text"])
def test_without_layout_it_generates_as_transformers_own(family: str, cache: str) -> None:
    ids = random_ids(18).reshape(2, 9)
    mask = torch.ones_like(ids)
    mask[0, :4] = 0  # left padding
    answers = []
    for attention in ("forest", own_attention(family)):
        model = tiny_model(family, attention=attention).eval()
        options = {"max_new_tokens": 8, "do_sample": False, "cache_implementation": cache, "disable_compile": True}
        answer = model.generate(ids, attention_mask=mask, output_logits=True, return_dict_in_generate=True, **options)
        answers.append((answer.sequences, torch.stack(answer.logits)))
    assert torch.equal(answers[0][0], answers[1][0])
    assert (answers[0][1] - answers[1][1]).abs().max() < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_without_layout_a_right_padded_batch_is_as_transformers_own(family: str) -> None:
    ids = random_ids(24).reshape(2, 12)
    mask = torch.ones_like(ids)
    mask[0, 7:] = 0
    ours, theirs = (
        tiny_model(family, attention=attention)(input_ids=ids, attention_mask=mask, use_cache=False).logits
        for attention in ("forest", own_attention(family))
    )
    assert (ours - theirs)[mask.bool()].abs().max() < 1e-5


def test_a_lost_layout_is_noticed() -> None:
    with pytest.raises(AssertionError, match="layout was lost"):
        tiny_model("llama").base_model(input_ids=random_ids(6), attention_mask=layout_mask(CPU), use_cache=False)


def test_can_pack_names_the_reason() -> None:
    assert can_pack(tiny_model("llama"))[0]
    assert can_pack(tiny_model("llama", attention="sdpa")) == (False, "the model was loaded with sdpa attention")
    is_allowed, reason = can_pack(tiny_model("stablelm"))
    assert not is_allowed and "stablelm" in reason


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_self_test_passes_on_sound_models(family: str, dtype: torch.dtype) -> None:
    model = tiny_model(family, dtype=dtype)
    report = self_test(model)
    assert report.is_equal and report.difference <= report.tolerance, report.reason
    assert model.training


@pytest.mark.parametrize("family", ["mistral", "gemma2", "gemma3_text"])
def test_self_test_notices_forgotten_windows_that_are_longer_than_its_rows(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model(family, sliding_window=64)
    assert self_test(model).is_equal and model.config.sliding_window == 64
    monkeypatch.setattr(cpu, "cut", lambda layout, window: cut(layout, None))
    assert not self_test(model).is_equal


def test_self_test_notices_forgotten_parents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "cut", lambda layout, window: replace(cut(layout, window), inherited=()))
    assert not self_test(tiny_model("llama")).is_equal


def test_a_kernel_that_fails_falls_back_aloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*_: Any, **__: Any) -> Tensor:
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(forest, "attend_blocks", failing)
    model = tiny_model("llama", attention="forest_blocks")
    report = trusted_self_test(model, cache=tmp_path)
    assert report.is_equal and model.config._attn_implementation == "forest"
    assert "falls back from forest_blocks to forest" in (said := capsys.readouterr().err) and "no kernel image" in said


class ForgetsLayout(nn.Module):
    """A backbone that reads a packed row as one sequence."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def get_input_embeddings(self) -> Any:
        return self.inner.get_input_embeddings()

    def forward(self, input_ids: Tensor, **_: Any) -> Any:
        return self.inner(input_ids=input_ids, use_cache=False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_self_test_catches_contamination(dtype: torch.dtype) -> None:
    model = tiny_model("llama", dtype=dtype)
    model.model = ForgetsLayout(model.model)
    report = self_test(model)
    assert not report.is_equal and report.difference > 2 * report.tolerance
