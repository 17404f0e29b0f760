# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""One block of records → token rows with their traits, and what became of every record; nothing else is looked at.

The outcome depends on the block and the recipe alone, whatever process it is computed in.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tunesmith.core.types import Example, RowKind
from tunesmith.data.blocks import Block
from tunesmith.data.encoders.base import Encoder, Notes, RowOutcome
from tunesmith.data.examples import BadRow, read_rows
from tunesmith.data.ledger import Outcome
from tunesmith.data.recognition import Reading
from tunesmith.data.store import TokenStore, Traits, build_store
from tunesmith.data.traits import compute_traits


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How records become token rows: how they are read, what kind of example they must be, and the encoder."""

    kind: RowKind
    reading: Reading
    encoder: Encoder


@dataclass(frozen=True, kw_only=True)
class RowGroup:
    """Rows of a block with one outcome for one reason; rows that are simply kept are counted, not listed."""

    outcome: Outcome
    reason: str
    count: int
    rows: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BadGroup:
    """Rows of a block with one kind of fault; the first of them is told in words."""

    code: str
    message: str
    remedy: str
    line: int | None
    rows: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class BlockFacts:
    """What became of the wanted records of a block: each is in one group, broken, or too long to be taken.

    Row numbers are those of the file. `columns` are those that any record has; `longest` is of the rows too long.
    """

    num_rows: int
    columns: tuple[str, ...] = ()
    groups: tuple[RowGroup, ...] = ()
    bad: tuple[BadGroup, ...] = ()
    too_long: tuple[int, ...] = ()
    longest: int = 0


@dataclass(frozen=True, kw_only=True)
class EncodedBlock:
    """Token rows of a block, in the order of its records, and what became of the records."""

    rows: TokenStore
    facts: BlockFacts


def encode_block(block: Block, recipe: Recipe) -> EncodedBlock:
    """Read and tokenise a block."""
    read = read_rows(block, recipe.reading, recipe.kind)
    notes = Notes(bad_rows=read.bad_rows)
    rows = build_store(recipe.encoder.encode(read.examples, notes))
    facts = BlockFacts(
        num_rows=block.num_chosen,
        columns=tuple(read.columns),
        groups=_group_outcomes(notes.outcomes),
        bad=bad_groups(notes.bad_rows),
        too_long=tuple(source.row for source, _ in notes.too_long),
        longest=max((length for _, length in notes.too_long), default=0),
    )
    counted = sum(group.count for group in facts.groups) + len(notes.bad_rows) + len(notes.too_long)
    assert counted == block.num_chosen, f"{counted} of {block.num_chosen} rows have an outcome"
    return EncodedBlock(rows=replace(rows, traits=_traits(read.examples, rows)), facts=facts)


def _traits(examples: Sequence[Example], rows: TokenStore) -> Traits:
    """Compute the traits of the examples that became rows, and give each row those of its example."""
    sources = rows.arrays["source_rows"]
    used = set(sources.tolist())
    traits = compute_traits([example for example in examples if example.source.row in used])
    places = np.searchsorted(np.unique(sources), sources)
    return {name: values[places] for name, values in traits.items()}


def _group_outcomes(outcomes: Sequence[RowOutcome]) -> tuple[RowGroup, ...]:
    counts = Counter((outcome, reason) for _, outcome, reason, _ in outcomes)
    rows: dict[tuple[Outcome, str], list[int]] = {}
    for row, outcome, reason, _ in outcomes:
        if reason:
            rows.setdefault((outcome, reason), []).append(row.row)
    return tuple(
        RowGroup(outcome=outcome, reason=reason, count=count, rows=tuple(rows.get((outcome, reason), ())))
        for (outcome, reason), count in sorted(counts.items())
    )


def bad_groups(bad_rows: Sequence[BadRow]) -> tuple[BadGroup, ...]:
    """Group the rows of a block that cannot be used by the code of their fault."""
    groups: dict[str, list[BadRow]] = {}
    for bad in sorted(bad_rows, key=lambda one: one.source.row):
        groups.setdefault(bad.code, []).append(bad)
    return tuple(
        BadGroup(
            code=code,
            message=found[0].message,
            remedy=found[0].remedy,
            line=found[0].line,
            rows=tuple(one.source.row for one in found),
        )
        for code, found in groups.items()
    )
