# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rows that hold a given short text nearly whole, wherever it stands in them: which of many rows, which of many texts.

A few rare runs of tokens of each text find the rows worth a look; the look counts all runs within one stretch of a row.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tunesmith.data.grams import Grams, Hashes, Membership, Numbers, common_of, iterate_grams
from tunesmith.data.store import TokenRows

# A text of fewer telling runs is looked for by its hash only.
MIN_GRAMS = 4
_MAX_ANCHORS = 16
_ANCHORS_FOUND = 0.5
# How much longer than the text itself the stretch may be that holds its runs.
_STRETCH = 2


@dataclass(frozen=True, kw_only=True)
class Hit:
    """Row `row` holds this share of the runs of text `text`."""

    row: int
    text: int
    share: float


def find_contained(rows: TokenRows, texts: Sequence[Hashes], threshold: float) -> Iterator[Hit]:
    """Give every row that holds a text to a share of `threshold` or more; `texts` are given by their runs of tokens."""
    common = Membership(common_of(texts))
    telling = [np.unique(text[~common.of(text)]) for text in texts]
    index = _Anchors.of(telling)
    if not len(index.hashes):
        return
    members = Membership(index.hashes)
    for grams in iterate_grams(rows):
        for place, text in _candidates(grams, index, members):
            held = grams.hashes[grams.offsets[place] : grams.offsets[place + 1]]
            share = _share_in_stretch(held, telling[text])
            if share >= threshold:
                yield Hit(row=int(grams.rows[place]), text=text, share=share)


@dataclass(frozen=True, kw_only=True)
class _Anchors:
    """The rare runs of all texts, sorted, with the text of each, and their number by text."""

    hashes: Hashes
    owners: Numbers
    counts: Numbers

    @classmethod
    def of(cls, texts: Sequence[Hashes]) -> "_Anchors":
        long_enough = [number for number, text in enumerate(texts) if len(text) >= MIN_GRAMS]
        every = np.concatenate([texts[number] for number in long_enough] or [np.zeros(0, dtype=np.uint64)])
        found, frequency = np.unique(every, return_counts=True)
        hashes, owners = [], []
        for number in long_enough:
            rarity = frequency[np.searchsorted(found, texts[number])]
            chosen = texts[number][np.lexsort([texts[number], rarity])[:_MAX_ANCHORS]]
            hashes.append(chosen)
            owners.append(np.full(len(chosen), number))
        joined = np.concatenate(hashes) if hashes else np.zeros(0, dtype=np.uint64)
        owner = np.concatenate(owners) if owners else np.zeros(0, dtype=np.int64)
        order = np.lexsort([owner, joined])
        return cls(hashes=joined[order], owners=owner[order], counts=np.bincount(owner, minlength=len(texts)))


def _candidates(grams: Grams, index: _Anchors, members: Membership) -> Iterator[tuple[int, int]]:
    """Give (place of the row, text) where a row holds at least half of a text's anchors."""
    places = np.flatnonzero(members.of(grams.hashes))
    row_of_place = np.searchsorted(grams.offsets, places, side="right") - 1
    pairs = np.unique(np.stack([row_of_place.astype(np.uint64), grams.hashes[places]]), axis=1)
    first = np.searchsorted(index.hashes, pairs[1], side="left")
    lengths = np.searchsorted(index.hashes, pairs[1], side="right") - first
    starts = np.cumsum(lengths) - lengths
    owned = np.arange(int(lengths.sum())) + np.repeat(first - starts, lengths)
    keys = np.repeat(pairs[0].astype(np.int64), lengths) * len(index.counts) + index.owners[owned]
    found, counts = np.unique(keys, return_counts=True)
    enough = counts >= _ANCHORS_FOUND * index.counts[found % len(index.counts)]
    for key in found[enough].tolist():
        yield divmod(key, len(index.counts))


def _share_in_stretch(held: Hashes, text: Hashes) -> float:
    """Count the distinct runs of a text within the stretch of a row that holds most of them."""
    places = np.flatnonzero(np.isin(held, text))
    if not len(places):
        return 0.0
    width = _STRETCH * len(text)
    ends = np.searchsorted(places, places + width)
    widest = np.flatnonzero(ends - np.arange(len(places)) == (ends - np.arange(len(places))).max())
    best = max(len(np.unique(held[places[start : ends[start]]])) for start in widest.tolist())
    return best / len(text)
