# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Every back end attends a layout as the segment-wise reference does: windows, caps, sinks, groups, any widths."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from tunesmith.core.types import NO_PARENT, ForestLayout
from tunesmith.models.attention.block_masks import attend_blocks
from tunesmith.models.attention.cpu import attend_on_cpu
from tunesmith.models.attention.pieces import cut
from tunesmith.models.attention.rule import AttentionRule
from tunesmith.models.attention.segments import attend_forest
from tunesmith.models.attention.varlen import _bounds, suits_varlen


def layout_of(lengths: list[int], parents: list[int]) -> ForestLayout:
    ends = [sum(lengths[: index + 1]) for index in range(len(lengths))]
    starts = [end - length for end, length in zip(ends, lengths, strict=True)]
    return ForestLayout(starts=tuple(starts), ends=tuple(ends), parents=tuple(parents))


LAYOUTS = {
    "rows": layout_of([17, 1, 9, 23], [NO_PARENT] * 4),
    "rows of one length": layout_of([8, 8, 8, 5, 5], [NO_PARENT] * 5),
    "pair": layout_of([7, 5, 6, 9], [NO_PARENT, 0, 0, NO_PARENT]),
    "tree": layout_of([6, 4, 3, 8, 2, 5, 1], [NO_PARENT, 0, 1, 1, 0, NO_PARENT, 5]),
    "empty segments": layout_of([4, 0, 3, 3, 0], [NO_PARENT, 0, 1, 1, NO_PARENT]),
}
LONG = layout_of([300, 290, 20, 270], [NO_PARENT, 0, 0, 2])  # longer than the blocks that windows and caps work in


def tensors(layout: ForestLayout, width: int, *, has_sinks: bool) -> tuple[Tensor, ...]:
    """Make queries of four heads, keys and values of two, and sinks, as models hand them over: token-major memory."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 8), (2, 8), (2, width)]
    made = [torch.randn(1, layout.ends[-1], *shape, generator=generator).transpose(1, 2) for shape in shapes]
    return tuple(tensor.requires_grad_() for tensor in (*made, *([torch.randn(4, generator=generator)] * has_sinks)))


def rule_of(given: tuple[Tensor, ...], **settings: Any) -> AttentionRule:
    return AttentionRule(**settings, sinks=given[3] if len(given) > 3 else None)


def reference(given: tuple[Tensor, ...], layout: ForestLayout, rule: AttentionRule) -> Tensor:
    return attend_forest(*given[:3], layout=layout, rule=rule).transpose(1, 2)


def assert_equal_on_cpu(layout: ForestLayout, *, width: int, has_sinks: bool, **settings: Any) -> None:
    given = tensors(layout, width, has_sinks=has_sinks)
    rule = rule_of(given, **settings)
    found, expected = attend_on_cpu(*given[:3], layout=layout, rule=rule), reference(given, layout, rule)
    assert (found - expected).detach().abs().max() < 1e-5
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    ours, theirs = (torch.autograd.grad((output * weights).sum(), given) for output in (found, expected))
    for left, right in zip(ours, theirs, strict=True):
        assert (left - right).abs().max() < 2e-5


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("window", [None, 1, 4, 11])
def test_the_cpu_attends_as_the_reference(name: str, window: int | None) -> None:
    for softcap, has_sinks, width in product([None, 2.0], [False, True], [6, 8, 10]):
        assert_equal_on_cpu(LAYOUTS[name], width=width, has_sinks=has_sinks, window=window, softcap=softcap)


@pytest.mark.parametrize("window", [None, 100, 280])
@pytest.mark.parametrize("softcap", [None, 2.0])
def test_the_cpu_attends_long_segments_as_the_reference(window: int | None, softcap: float | None) -> None:
    assert_equal_on_cpu(LONG, width=8, has_sinks=True, window=window, softcap=softcap, scaling=0.5)


@pytest.mark.filterwarnings("ignore:flex_attention called without")
@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("window", [None, 4])
def test_block_masks_say_what_the_reference_does(name: str, window: int | None) -> None:
    layout = LAYOUTS[name]
    for softcap, has_sinks, width in product([None, 2.0], [False, True], [6, 8]):
        given = tuple(tensor.detach() for tensor in tensors(layout, width, has_sinks=has_sinks))
        rule = rule_of(given, window=window, softcap=softcap)
        found = attend_blocks(*given[:3], layout=layout, rule=rule)
        assert (found - reference(given, layout, rule)).abs().max() < 1e-5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("window", [None, 100])
def test_compiled_block_masks_have_the_reference_s_gradients(window: int | None) -> None:
    given = tuple(tensor.detach().cuda().requires_grad_() for tensor in tensors(LONG, 8, has_sinks=True))
    rule = rule_of(given, window=window)
    found, expected = attend_blocks(*given[:3], layout=LONG, rule=rule), reference(given, LONG, rule)
    assert (found - expected).detach().abs().max() < 1e-2
    ours, theirs = (torch.autograd.grad(output.square().sum(), given) for output in (found, expected))
    for left, right in zip(ours, theirs, strict=True):
        assert (left - right).norm() < 2e-2 * right.norm()


def test_formats_mixed_by_autocast_give_the_short_one_and_full_gradients() -> None:
    layout = LAYOUTS["rows"]
    query, key, value = tensors(layout, 8, has_sinks=False)
    rule = AttentionRule()
    with torch.autocast("cpu", torch.bfloat16):
        found = attend_on_cpu(query, key, value, layout=layout, rule=rule)
    assert found.dtype == torch.bfloat16
    expected = reference((query, key, value), layout, rule)
    assert (found - expected).detach().abs().max() < 3e-2
    assert all(part.dtype == torch.float32 for part in torch.autograd.grad(found.float().sum(), (query, key, value)))


def test_rows_of_one_length_are_attended_together_and_no_mask_is_built_without_need() -> None:
    pieces = cut(LAYOUTS["rows of one length"], None)
    assert [(piece.count, piece.num_keys) for piece in pieces.own] == [(3, 8), (2, 5)] and not pieces.inherited
    tree = cut(LAYOUTS["tree"], None)
    assert all(piece.mask(torch.device("cpu")) is None for piece in (*tree.own, *tree.inherited))
    assert [piece.queries for piece in tree.inherited if piece.keys == (0, 6)] == [(6, 23)]  # all its descendants


def test_a_window_leaves_out_keys_that_nobody_sees() -> None:
    pieces = cut(layout_of([2000], [NO_PARENT]), 100)
    assert sum(piece.num_queries * piece.num_keys for piece in pieces.own) < 2000 * 360


def test_varlen_kernels_are_for_rows_without_trees_and_sinks() -> None:
    query = torch.zeros(1, 4, 3, 8, dtype=torch.bfloat16)
    rows, rule = LAYOUTS["rows"], AttentionRule()
    assert suits_varlen(query, layout=rows, rule=rule)
    assert not suits_varlen(query, layout=LAYOUTS["pair"], rule=rule)
    assert not suits_varlen(query, layout=rows, rule=AttentionRule(sinks=torch.zeros(4)))
    assert not suits_varlen(query.float(), layout=rows, rule=rule)
    assert not suits_varlen(torch.zeros(1, 4, 3, 512, dtype=torch.bfloat16), layout=rows, rule=rule)
    bounds, longest = _bounds(layout_of([4, 0, 3], [NO_PARENT] * 3), torch.device("cpu"))
    assert bounds.tolist() == [0, 4, 7] and longest == 4
