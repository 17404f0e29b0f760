# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Cuts a conversation into samples that each equal what inference would see.

Where a template renders earlier turns otherwise than when they came (it drops their thoughts, it trims them), one text
of the whole conversation holds answers that no model would be asked for. Then every such answer is trained in a sample
that ends with it; turns that look the same in both share a sample.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Renders the messages up to an answer, that answer included: the text, and where the answer ends in it.
RenderUpTo = Callable[[int], tuple[str, int]]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The messages before `end`; of the answers in it only `answers` are trained here."""

    end: int
    answers: tuple[int, ...]


def plan_samples(answers: Sequence[int], num_messages: int, render: RenderUpTo) -> list[Sample]:
    """Group answers (positions of messages) into samples, in order.

    An answer shares the sample of a later one when the text up to its end is the beginning of the later text.
    """
    rendered = {index: render(index) for index in answers}
    samples: list[Sample] = []
    remaining = list(answers)
    while remaining:
        last = remaining.pop()
        text = rendered[last][0]
        shared = [index for index in remaining if _is_seen_alike(rendered[index], text)]
        remaining = [index for index in remaining if index not in shared]
        end = num_messages if not samples else last + 1
        samples.append(Sample(end=end, answers=(*shared, last)))
    return samples[::-1]


def _is_seen_alike(earlier: tuple[str, int], later: str) -> bool:
    text, end = earlier
    return later.startswith(text[:end])
