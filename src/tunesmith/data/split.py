# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Taking evaluation rows from the training rows: by seed, with rows that share a prompt or a long answer on one side.

`random` is LLaMA-Factory's way (`train_test_split` of `datasets`), which parts such rows. It sees hashes, no texts.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tunesmith.core.errors import refusal
from tunesmith.data.groups import Index, Rows, group_by_keys, grouping_answers, label_of_rows

SplitBy = Literal["group", "near_duplicates", "random"]


@dataclass(frozen=True, kw_only=True)
class SplitKeys:
    """What is known of each row: hashes of prompt and answer (0: it has none), characters of the answer, its cluster.

    Rows of one cluster are near-duplicates of each other.
    """

    prompt: npt.NDArray[np.uint64]
    answer: npt.NDArray[np.uint64]
    answer_chars: npt.NDArray[Any]
    cluster: npt.NDArray[Any] | None = None

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.prompt)


@dataclass(frozen=True, kw_only=True)
class Split:
    """Rows for training and for evaluation; `num_shared` evaluation rows have their prompt or long answer in training.

    Grouped rows stay in their order; random ones have the order that `datasets` gives them.
    """

    train: Index
    held_out: Index
    num_shared: int = 0


def split_rows(keys: SplitKeys, val_size: float, *, seed: int, by: SplitBy = "group") -> Split:
    """Split rows; `val_size` is a share below 1, else a count."""
    if len(keys) and val_size >= len(keys):
        raise refusal(
            "check.split_too_large",
            f"val_size asks for {int(val_size)} of {len(keys)} rows, which leaves none for training.",
            "Write the share for evaluation, for example val_size: 0.1, or a smaller number of rows.",
            key="val_size",
        )
    if by == "random":
        return _split_at_random(keys, val_size, seed)
    target = max(1, round(val_size * len(keys)) if val_size < 1 else int(val_size))
    groups = group_by_keys(
        len(keys),
        [
            (keys.prompt, keys.prompt != 0),
            (keys.answer, grouping_answers(keys.answer, keys.answer_chars)),
            *([(keys.cluster, None)] if keys.cluster is not None else []),
        ],
    )
    is_taken = _draw(groups, label_of_rows(keys.answer, keys.answer_chars), target, seed)[groups]
    if len(keys) and is_taken.all():
        raise refusal(
            "data.split_impossible",
            f"val_size asks for {target} of {len(keys)} rows, but all of them hang together: they share prompts or "
            "long answers with each other.",
            "Name other rows as eval_dataset, or write val_split_by: random (the evaluation then measures memory).",
            key="val_size",
        )
    return Split(train=np.flatnonzero(~is_taken), held_out=np.flatnonzero(is_taken))


def _split_at_random(keys: SplitKeys, val_size: float, seed: int) -> Split:
    number = int(np.ceil(val_size * len(keys))) if val_size < 1 else int(val_size)
    order = np.random.default_rng(seed).permutation(len(keys))
    train, held_out = order[number:], order[:number]
    counts = grouping_answers(keys.answer, keys.answer_chars)
    is_shared = (keys.prompt[held_out] != 0) & np.isin(keys.prompt[held_out], keys.prompt[train])
    known = keys.answer[train][counts[train]]
    is_shared |= counts[held_out] & np.isin(keys.answer[held_out], known)
    return Split(train=train, held_out=held_out, num_shared=int(is_shared.sum()))


def _draw(groups: Rows, labels: Rows, target: int, seed: int) -> npt.NDArray[np.bool_]:
    """Draw whole groups of about `target` rows in all, of each label as large a share; say which groups are taken.

    Where no group fits, the smallest one is taken.
    """
    sizes = np.bincount(groups).astype(np.int32)
    order = np.random.default_rng(seed).permutation(len(sizes)).astype(np.int32)
    first_rows = np.zeros(len(sizes), dtype=np.int32)
    first_rows[groups[::-1]] = np.arange(len(groups) - 1, -1, -1, dtype=np.int32)  # the last one written stays
    label_of_group = labels[first_rows][order]
    is_taken = np.zeros(len(sizes), dtype=bool)
    by_label = order[np.argsort(label_of_group, kind="stable")]
    rows_of_label = np.bincount(label_of_group, weights=sizes[order]).astype(np.int64)
    num_groups = np.bincount(label_of_group)
    for end, count, quota in zip(np.cumsum(num_groups), num_groups, _quotas(rows_of_label, target), strict=True):
        some = by_label[end - count : end]
        is_taken[some[_fitting(sizes[some], int(quota))]] = True
    rest = order[~is_taken[order]]
    is_taken[rest[_fitting(sizes[rest], target - int(sizes[is_taken].sum()))]] = True
    if not is_taken.any() and len(order):
        is_taken[order[np.argmin(sizes[order])]] = True
    return is_taken


def _quotas(rows_of_label: Index, target: int) -> Index:
    """Spread a number of rows over labels by their sizes; the largest remainders get what rounding leaves."""
    exact = rows_of_label * (min(target, int(rows_of_label.sum())) / max(int(rows_of_label.sum()), 1))
    quotas: Index = np.floor(exact + 1e-9).astype(np.int64)
    left = round(float(exact.sum())) - int(quotas.sum())
    quotas[np.argsort(quotas - exact, kind="stable")[:left]] += 1
    return quotas


def _fitting(sizes: Rows, room: int) -> Index:
    """Take sizes in order while they fit into the room that is left; give their places."""
    taken: list[Index] = []
    open_places = np.arange(len(sizes))
    while room > 0 and len(open_places):
        open_places = open_places[sizes[open_places] <= room]
        filled = np.cumsum(sizes[open_places])
        number = int(np.searchsorted(filled, room, side="right"))
        taken.append(open_places[:number])
        room -= int(filled[number - 1]) if number else 0
        open_places = open_places[number:]
    return np.concatenate(taken) if taken else np.zeros(0, dtype=np.int64)
