# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rows as they would be without a length limit, and which of their tokens the limit took away."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from tunesmith.checks.context import CheckContext
from tunesmith.core.types import RowRef, TokenRow
from tunesmith.data.encoders.base import encoders
from tunesmith.data.pipeline import encode_rules
from tunesmith.data.preparation.encoding import Recipe, encode_block
from tunesmith.data.recognition import Reading
from tunesmith.jobs.inspection.facts import RunState
from tunesmith.jobs.inspection.records import blocks_of_rows, sets_of

_NO_LIMIT = 2**30
# Comparing two stretches takes the product of their lengths; longer ones are shown one after the other.
_MAX_PRODUCT = 4_000_000


def whole_rows(
    context: CheckContext, readings: Mapping[str, Reading | None], sources: Iterable[RowRef]
) -> dict[RowRef, TokenRow]:
    """Encode some records again without a length limit; records that become several rows are left out."""
    wanted: dict[tuple[str, str], list[int]] = {}
    for source in sources:
        wanted.setdefault((source.dataset, source.file), []).append(source.row)
    found: dict[RowRef, list[TokenRow]] = {}
    for data_set in sets_of(context.config) if wanted else []:
        reading = readings.get(data_set.name)
        for (dataset, file), rows in wanted.items():
            if reading is None or dataset != data_set.name:
                continue
            for block in blocks_of_rows(data_set, file, rows):
                store = encode_block(block, _recipe(context, reading)).rows
                for index in range(len(store)):
                    found.setdefault(store.source(index), []).append(store[index])
    return {source: rows[0] for source, rows in found.items() if len(rows) == 1}


def _recipe(context: CheckContext, reading: Reading) -> Recipe:
    template = context.template if context.has("template") else None
    rules = replace(encode_rules(context.config, context.tokenizer, template), cutoff_len=_NO_LIMIT)
    return Recipe(kind=context.row_kind, reading=reading, encoder=encoders.get(context.row_kind)(rules))


@dataclass(frozen=True, kw_only=True)
class Marked:
    """Tokens of a segment with what was cut away put back: ids, weights, and the state of each."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]
    states: tuple[RunState, ...]


def put_back(ids: Sequence[int], weights: Sequence[float], whole: Sequence[int]) -> Marked:
    """Put the tokens of `whole` that are not in `ids` back where they were."""
    marked = [
        (whole[place], 0.0, True) if is_cut else (ids[place], weights[place], False)
        for place, is_cut in _merged(ids, whole)
    ]
    states: list[RunState] = ["cut" if is_cut else "trained" if weight else "context" for _, weight, is_cut in marked]
    return Marked(
        ids=tuple(token for token, _, _ in marked),
        weights=tuple(weight for _, weight, _ in marked),
        states=tuple(states),
    )


def _merged(ids: Sequence[int], whole: Sequence[int]) -> Iterator[tuple[int, bool]]:
    """Walk both, as places in `ids` (False) and, for tokens that were cut, in `whole` (True)."""
    for tag, first, last, cut_first, cut_last in _differences(ids, whole):
        if tag != "equal":
            yield from ((place, True) for place in range(cut_first, cut_last))
        yield from ((place, False) for place in range(first, last))


def _differences(ids: Sequence[int], whole: Sequence[int]) -> list[tuple[str, int, int, int, int]]:
    head = _num_equal(ids, whole)
    tail = _num_equal(ids[head:][::-1], whole[head:][::-1])
    inner, inner_whole = ids[head : len(ids) - tail], whole[head : len(whole) - tail]
    between: list[tuple[str, int, int, int, int]] = [("replace", 0, len(inner), 0, len(inner_whole))]
    if len(inner) * len(inner_whole) <= _MAX_PRODUCT:
        between = list(SequenceMatcher(None, inner, inner_whole, autojunk=False).get_opcodes())
    moved = [(tag, first + head, last + head, start + head, end + head) for tag, first, last, start, end in between]
    after = len(ids) - tail
    return [("equal", 0, head, 0, head), *moved, ("equal", after, len(ids), len(whole) - tail, len(whole))]


def _num_equal(first: Sequence[int], second: Sequence[int]) -> int:
    """Count the leading tokens that are equal."""
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            return count
        count += 1
    return count
