# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rows that nearly equal another: MinHash signatures of their tokens, equal bands of them as candidates, clusters.

What many prompts of a set have in common (template, system prompt, task) does not count, so a short question under a
long instruction is no duplicate of the next; answers count. Signatures are made by rensa and compared here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rensa import RMinHash

from tunesmith.data.chains import join
from tunesmith.data.grams import Grams, Hashes, Mask, Membership, Numbers, common_grams, iterate_grams
from tunesmith.data.store import TokenRows

Signatures = npt.NDArray[np.uint64]

# 16 bands of 4 slots: at a similarity of 0.8 a pair is missed once in 4,000, at 0.5 once in three.
NUM_BANDS, SLOTS_PER_BAND = 16, 4
NUM_SLOTS = NUM_BANDS * SLOTS_PER_BAND
MIN_THRESHOLD = 0.5

_SEED = 42
# In a bucket, sorted so that like rows are neighbours, each row is compared with this many that follow it.
_NEIGHBOURS = 4
_PAIRS_AT_ONCE = 1 << 17


def row_signatures(rows: TokenRows, sets: Numbers | None = None) -> Signatures:
    """Give the signature of each row: one number a band. `sets` numbers the data set that each row is of."""
    owners = np.zeros(len(rows), dtype=np.int64) if sets is None else sets
    common = [_Common.of(rows, np.flatnonzero(owners == one)) for one in range(_count(owners))]
    signatures = np.zeros((len(rows), NUM_BANDS), dtype=np.uint64)
    for grams in iterate_grams(rows):
        telling = _without_common(grams, owners[grams.rows], common)
        signatures[grams.rows] = _sign(telling)
    return signatures


def _count(owners: Numbers) -> int:
    return int(owners.max()) + 1 if len(owners) else 0


@dataclass(frozen=True, kw_only=True)
class _Common:
    """What the rows of a set have in common: in their prompts, and anywhere."""

    in_prompts: Membership
    anywhere: Membership

    @classmethod
    def of(cls, rows: TokenRows, numbers: Numbers) -> "_Common":
        in_prompts, anywhere = map(Membership, common_grams(rows, numbers))
        return cls(in_prompts=in_prompts, anywhere=anywhere)

    def among(self, hashes: Hashes, of_answer: Mask) -> Mask:
        found = self.anywhere.of(hashes)
        found[~of_answer] |= self.in_prompts.of(hashes[~of_answer])
        return found


def _without_common(grams: Grams, owners: Numbers, common: list[_Common]) -> Grams:
    """Leave out what is common to a set; a row that would have nothing left keeps all."""
    lengths = np.diff(grams.offsets)
    owner_of_gram = np.repeat(owners, lengths)
    keep = np.zeros(len(grams.hashes), dtype=bool)
    for owner in np.unique(owners):
        mine = np.flatnonzero(owner_of_gram == owner)
        keep[mine] = ~common[owner].among(grams.hashes[mine], grams.of_answer[mine])
    before = np.concatenate([[0], np.cumsum(keep)])
    keep |= np.repeat(np.diff(before[grams.offsets]) == 0, lengths)
    return grams.select(keep)


def _sign(grams: Grams) -> Signatures:
    """Sign rows; of each slot 16 bits are kept. A row too short to have runs gets numbers of its own."""
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(grams.hashes, grams.offsets, NUM_SLOTS, _SEED)
    slots = np.array(matrix.to_rows(), dtype=np.uint32).astype("<u2")
    signatures = slots.reshape(-1, NUM_SLOTS).view("<u8").astype(np.uint64)
    is_empty = np.diff(grams.offsets) == 0
    signatures[is_empty] = grams.rows[is_empty, None].astype(np.uint64) << np.uint64(16)
    return signatures


def near_duplicate_clusters(signatures: Signatures, threshold: float) -> Numbers:
    """Give each row the first row of its cluster: rows whose estimated similarity reaches the threshold, by chains."""
    leaders = np.arange(len(signatures))
    for band in range(NUM_BANDS):
        for lefts, rights in _candidates(signatures, band):
            is_apart = leaders[lefts] != leaders[rights]
            left, right = lefts[is_apart], rights[is_apart]
            is_alike = _similarity(signatures, left, right) >= threshold
            join(leaders, left[is_alike], right[is_alike])
    return leaders


def _candidates(signatures: Signatures, band: int) -> Iterator[tuple[Numbers, Numbers]]:
    """Give pairs of rows that are equal in a band. Large buckets give a few pairs a row, not all pairs."""
    keys = signatures[:, band]
    order = np.argsort(keys, kind="stable")
    is_shared = np.zeros(len(keys), dtype=bool)
    equal = keys[order][1:] == keys[order][:-1]
    is_shared[1:] |= equal
    is_shared[:-1] |= equal
    rows = order[is_shared]
    if not len(rows):
        return
    following = [signatures[rows, (band + step) % NUM_BANDS] for step in range(3, -1, -1)]
    rows = rows[np.lexsort(following)]
    for distance in range(1, _NEIGHBOURS + 1):
        left, right = rows[:-distance], rows[distance:]
        same = keys[left] == keys[right]
        left, right = left[same], right[same]
        for start in range(0, len(left), _PAIRS_AT_ONCE):
            yield left[start : start + _PAIRS_AT_ONCE], right[start : start + _PAIRS_AT_ONCE]


def _similarity(signatures: Signatures, left: Numbers, right: Numbers) -> npt.NDArray[np.float64]:
    """Estimate the Jaccard similarity of pairs: the share of equal slots."""
    slots = signatures.view(np.uint16)
    shares: npt.NDArray[np.float64] = (slots[left] == slots[right]).mean(axis=1)
    return shares
