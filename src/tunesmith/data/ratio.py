# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""LLaMA-Factory's rule for rows that are too long: prompt and answer lose their ends by their share of the length.

It cuts answers and the template's own tokens; `length_policy: ratio` chooses it for the sake of comparison.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tunesmith.core.types import Rendered

Mask = npt.NDArray[np.bool_]


def infer_lengths(source: int, target: int, limit: int) -> tuple[int, int]:
    """Give the tokens that prompt and answer keep of a limit: LLaMA-Factory's `infer_seqlen`."""
    if target * 2 < limit:
        most = limit
    elif source * 2 < limit:
        most = limit - source
    else:
        most = int(limit * (target / (source + target)))
    kept = min(most, target)
    return min(max(limit - kept, 0), source), kept


def cut_turns(rendered: Rendered, is_answer: Mask, limit: int, *, last_first: bool) -> Rendered:
    """Let the turns use up the limit one after the other; each keeps the heads of its prompt and its answer."""
    pairs = list(_pairs(is_answer))
    kept = np.zeros(len(is_answer), dtype=np.bool_)
    total = 0
    for start, answer, end in reversed(pairs) if last_first else pairs:
        if total >= limit:
            break
        source, target = infer_lengths(answer - start, end - answer, limit - total)
        kept[start : start + source] = True
        kept[answer : answer + target] = True
        total += source + target
    return replace(rendered, input_ids=rendered.input_ids[kept], weights=rendered.weights[kept])


def cut_answers(renderings: Sequence[Rendered], prompt_length: int, limit: int) -> tuple[Rendered, ...]:
    """Cut answers to one prompt alike, by the longest of them."""
    longest = max(len(rendered.input_ids) for rendered in renderings) - prompt_length
    source, target = infer_lengths(prompt_length, longest, limit)
    kept = [*range(source), *range(prompt_length, prompt_length + target)]
    index = [np.array(kept[: source + max(len(each.input_ids) - prompt_length, 0)], dtype=int) for each in renderings]
    return tuple(
        replace(rendered, input_ids=rendered.input_ids[places], weights=rendered.weights[places])
        for rendered, places in zip(renderings, index, strict=True)
    )


def _pairs(is_answer: Mask) -> Iterator[tuple[int, int, int]]:
    """Give the start of each turn's prompt, the start of its answer and the end of it."""
    changes = np.flatnonzero(np.diff(is_answer.astype(np.int8), prepend=0, append=0))
    start = 0
    for answer, end in changes.reshape(-1, 2).tolist():
        yield start, answer, end
        start = end
    if start < len(is_answer):
        yield start, len(is_answer), len(is_answer)
