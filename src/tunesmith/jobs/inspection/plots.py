# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Plots of an inspection as inline SVG, coloured by the page's style."""

from collections.abc import Iterator, Sequence
from html import escape

from tunesmith.jobs.inspection.facts import Lengths

_WIDTH, _HEIGHT = 620, 220
_LEFT, _RIGHT, _BOTTOM, _TOP = 46, 22, 30, 22


def length_plot(lengths: Lengths, cutoff: int | None = None) -> str:
    """Draw a histogram of lengths, with the limit where it is near the rows."""
    room, top = _WIDTH - _LEFT - _RIGHT, max(lengths.counts)
    is_near = cutoff is not None and lengths.edges[0] <= cutoff <= 1.25 * lengths.edges[-1]
    start, end = lengths.edges[0], max(lengths.edges[-1], cutoff if cutoff is not None and is_near else 0)
    scale = room / (end - start)
    marks = [*_value_axis(top), *_bars(lengths, scale, top), *_token_axis(lengths.edges, scale)]
    if cutoff is not None and is_near:
        marks.append(_limit(_LEFT + (cutoff - start) * scale, cutoff))
    label = f"Rows by length: from {lengths.shortest} to {lengths.longest} tokens, median {lengths.median}"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="100%" role="img" aria-label="{escape(label)}">'
        f"{''.join(marks)}</svg>"
    )


def _bars(lengths: Lengths, scale: float, top: int) -> Iterator[str]:
    for low, high, count in zip(lengths.edges, lengths.edges[1:], lengths.counts, strict=False):
        if not count:
            continue
        height = max(_rise(count, top), 1.5)
        x, y = _LEFT + (low - lengths.edges[0]) * scale, _HEIGHT - _BOTTOM - height
        yield (
            f'<rect class="bar" x="{x:.1f}" y="{y:.1f}" '
            f'width="{max((high - low) * scale - 1.5, 1):.1f}" height="{height:.1f}" rx="1.5">'
            f"<title>{low:,} to {high - 1:,} tokens: {count:,} rows</title></rect>"
        )


def _rise(count: float, top: int) -> float:
    return (_HEIGHT - _BOTTOM - _TOP) * count / top


def _value_axis(top: int) -> Iterator[str]:
    for value in dict.fromkeys([0, top // 2, top]):
        y = _HEIGHT - _BOTTOM - _rise(value, top)
        yield f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:,}</text>'


def _token_axis(edges: Sequence[int], scale: float) -> Iterator[str]:
    step = -(-len(edges) // 8)
    for edge in edges[::step]:
        yield (
            f'<text x="{_LEFT + (edge - edges[0]) * scale:.1f}" y="{_HEIGHT - 12}" text-anchor="middle">{edge:,}</text>'
        )


def _limit(x: float, cutoff: int) -> str:
    return (
        f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 6}" y2="{_HEIGHT - _BOTTOM}"/>'
        f'<text class="limit-text" x="{x - 5:.1f}" y="{_TOP + 4}" text-anchor="end">cutoff_len {cutoff:,}</text>'
    )


def meter(share: float) -> str:
    """Draw a share as a bar."""
    return f'<div class="meter"><i style="width:{min(max(share, 0.0), 1.0):.2%}"></i></div>'
