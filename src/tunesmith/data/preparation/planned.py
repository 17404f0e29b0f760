# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A data set as preparation sees it: blocks with the names of their shards, and numbers; no row and no file is held."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tunesmith.core.errors import Problem
from tunesmith.data.blocks import Block
from tunesmith.data.opening import OpenSet
from tunesmith.data.preparation.keys import block_key
from tunesmith.data.recognition import Reading
from tunesmith.data.sampling import Chosen
from tunesmith.data.sets import DataSet

Split = Literal["train", "eval"]


@dataclass(frozen=True, kw_only=True)
class PlannedBlock:
    """A used block, the name of its shard, and `offset`: numbers of its records in the set less those in the file.

    `key` is empty where it is not known how to read the set.
    """

    block: Block
    key: str
    offset: int


@dataclass(frozen=True, kw_only=True)
class PlannedSet:
    """One data set of training or evaluation. `data_set` and `reading` are absent where only its shards are at hand."""

    part: Split
    name: str
    chosen: Chosen
    blocks: tuple[PlannedBlock, ...]
    left_out: tuple[tuple[str, int, tuple[int, ...]], ...]
    problems: tuple[Problem, ...] = ()
    data_set: DataSet | None = None
    reading: Reading | None = None

    @property
    def offsets(self) -> npt.NDArray[np.int64]:
        """The offsets of all blocks."""
        return np.array([planned.offset for planned in self.blocks], dtype=np.int64)


def plan_set(opened: OpenSet, part: Split, rules: str) -> PlannedSet:
    """Name the shards of an open set under the key of the rules."""
    return PlannedSet(
        part=part,
        name=opened.name,
        chosen=opened.chosen,
        blocks=tuple(_plan_blocks(opened, rules)),
        left_out=tuple(opened.left_out()),
        problems=opened.problems,
        data_set=opened.data_set,
        reading=opened.reading,
    )


def _plan_blocks(opened: OpenSet, rules: str) -> Iterator[PlannedBlock]:
    begins: dict[tuple[int, int], int] = {}
    total = 0
    for block in opened.blocks:
        begins[block.file_number, block.span.start.row] = total - block.span.start.row
        total += block.num_rows
    for block in opened.used_blocks():
        key = "" if opened.reading is None else block_key(block, opened.reading, rules)
        yield PlannedBlock(block=block, key=key, offset=begins[block.file_number, block.span.start.row])
