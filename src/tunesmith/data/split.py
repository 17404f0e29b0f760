# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Taking evaluation rows from the training rows: by seed, with rows of one prompt on one side."""

import hashlib
import json
from collections.abc import Sequence

import numpy as np

from tunesmith.core.types import Example


def split_examples(examples: Sequence[Example], val_size: float, *, seed: int) -> tuple[list[Example], list[Example]]:
    """Give (training, evaluation) examples in their order; `val_size` is a share below 1, else a count."""
    target = round(val_size * len(examples)) if val_size < 1 else int(val_size)
    taken = _draw_groups(_group_by_prompt(examples), max(target, 1), seed)
    train = [example for index, example in enumerate(examples) if index not in taken]
    return train, [example for index, example in enumerate(examples) if index in taken]


def _group_by_prompt(examples: Sequence[Example]) -> list[list[int]]:
    groups: dict[str, list[int]] = {}
    for index, example in enumerate(examples):
        groups.setdefault(prompt_key(example), []).append(index)
    return list(groups.values())


def _draw_groups(groups: Sequence[Sequence[int]], target: int, seed: int) -> set[int]:
    """Draw groups in random order while they fit; where none fits, the smallest group is taken."""
    taken: set[int] = set()
    order = np.random.default_rng(seed).permutation(len(groups))
    for index in order:
        if len(taken) + len(groups[index]) <= target:
            taken.update(groups[index])
        if len(taken) == target:
            break
    if not taken and groups:
        smallest = min(order.tolist(), key=lambda index: len(groups[index]))
        taken.update(groups[smallest])
    return taken


def prompt_key(example: Example) -> str:
    """Hash what was asked (all turns but answers and system prompts), or the text; equal prompts have equal keys."""
    if example.conversation is None:
        content = example.text or ""
    else:
        asked = [one for one in example.conversation.messages if one.role in ("user", "tool")]
        content = json.dumps([[message.role, message.content] for message in asked], ensure_ascii=False)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
