# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rules about tells of preference pairs: what a model can learn from them instead of what makes an answer better."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tunesmith.checks.context import CheckContext
from tunesmith.checks.judged_rows import JudgedRows
from tunesmith.checks.judgement import Judgement, judgement, share_of, tell
from tunesmith.checks.thresholds import thresholds
from tunesmith.data.traits import OPENING_CHARS, Flag

_NUM_QUOTES = 3


@judgement("check.pairs_alike", "warn", kinds=("preference",))
def pairs_differ(context: CheckContext, rows: JudgedRows) -> Iterator[Judgement]:
    """Find pairs whose answers are equal in substance: the same letters, or one contains the other."""
    found = np.flatnonzero(rows.has_flag(Flag.SAME_SUBSTANCE))
    if len(found) and len(found) >= thresholds()["min_alike_share"] * len(rows):
        yield from tell(
            rows,
            found,
            "have a chosen answer that equals the rejected one or contains all of it, or the other way round, for "
            "example:",
            "Remove these pairs, or write answers that differ in what should be learned.",
            quotes=[f"{rows.row_name(one)} {rows.quote_answer(one)}" for one in found[:_NUM_QUOTES].tolist()],
        )


@judgement("check.pairs_tell_length", "warn", kinds=("preference",))
def length_tells_nothing(context: CheckContext, rows: JudgedRows) -> Iterator[Judgement]:
    """Find sets in which the chosen answer is the longer one, or the shorter one, in nearly every pair."""
    limits = thresholds()
    chosen, rejected = rows.trait("answer_chars"), rows.trait("rejected_chars")
    if len(rows) < limits["min_judged_rows"]:
        return
    for is_so, word, opposite in ((chosen > rejected, "longer", "shorter"), (chosen < rejected, "shorter", "longer")):
        if is_so.mean() >= limits["min_tell_share"]:
            lengths = f"{np.median(chosen):.0f} against {np.median(rejected):.0f} characters in the median"
            yield from tell(
                rows,
                np.flatnonzero(is_so),
                f"have a chosen answer that is {word} than the rejected one ({lengths}): the model can learn the "
                "length instead of the quality.",
                f"Add pairs in which the {opposite} answer is the better one.",
            )


@judgement("check.pairs_tell_opening", "warn", kinds=("preference",))
def openings_tell_nothing(context: CheckContext, rows: JudgedRows) -> Iterator[Judgement]:
    """Find sets in which one side begins alike and the other does not."""
    if len(rows) < thresholds()["min_judged_rows"]:
        return
    chosen, rejected = rows.trait("opening"), rows.trait("rejected_opening")
    for side, mine, other in (("chosen", chosen, rejected), ("rejected", rejected, chosen)):
        found = _tell(mine, other)
        if found is not None:
            records = np.flatnonzero(found)
            quote = f" {rows.quote_answer(int(records[0]))}" if side == "chosen" else ""
            elsewhere = int((other == mine[records[0]]).sum())
            yield from tell(
                rows,
                records,
                f"have a {side} answer with the same first {OPENING_CHARS} characters, and "
                f"{share_of(elsewhere, len(rows)) if elsewhere else 'none'} of the other side: the model can learn the "
                f"beginning instead of the quality.{quote}",
                "Vary the beginnings, or let both sides begin alike.",
            )


def _tell(mine: npt.NDArray[np.uint64], other: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_] | None:
    """Find the records of the commonest opening of one side, when it is a great part of it and rare on the other."""
    limits = thresholds()
    openings, counts = np.unique(mine, return_counts=True)
    commonest = openings[np.argmax(counts)]
    is_common = counts.max() >= limits["min_opening_share"] * len(mine)
    is_rare = (other == commonest).mean() <= limits["max_opposite_share"]
    found: npt.NDArray[np.bool_] = mine == commonest
    return found if is_common and is_rare and commonest else None
