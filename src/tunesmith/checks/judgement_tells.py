# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rules about one feature that tells good from bad answers nearly without fail: a phrase, a first word, formatting.

Also of feedback: length, and how many answers are liked. Of large sets a sample is read, spread evenly.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from tunesmith.checks.context import CheckContext
from tunesmith.checks.features import Tell, features_of, find_tells
from tunesmith.checks.judged_rows import JudgedRows
from tunesmith.checks.judgement import Judgement, judgement, share_of, tell
from tunesmith.checks.thresholds import thresholds
from tunesmith.data.traits import label_hash
from tunesmith.objectives.kto import KtoParams

_SAMPLE = 500
_NUM_SHOWN = 3
_REMEDY = "Vary what the {side} answers have in common, or let the others have it as often."

Records = npt.NDArray[np.int64]


@judgement("check.pairs_equal", "refuse", kinds=("preference",))
def some_pair_differs(context: CheckContext, rows: JudgedRows) -> Iterator[Judgement]:
    """Find sets in which every chosen answer is its rejected one, so that nothing can be learned."""
    is_equal = rows.trait("answer") == rows.trait("rejected")
    if is_equal.all():
        yield from tell(
            rows,
            np.arange(len(rows)),
            "have a chosen answer that is the rejected one word for word: every loss over pairs is flat there.",
            "Look at which columns are named as chosen and rejected.",
        )


@judgement("check.pairs_tell_feature", "warn", kinds=("preference",))
def no_feature_tells_the_chosen(context: CheckContext, rows: JudgedRows) -> Iterator[Judgement]:
    """Find a feature that nearly all answers of one side have and nearly none of the other."""
    if len(rows) < thresholds()["min_judged_rows"]:
        return
    records = spread(np.arange(len(rows)))
    texts = {side: [rows.segment_text(record, side) for record in records.tolist()] for side in ("chosen", "rejected")}
    for side, other in (("chosen", "rejected"), ("rejected", "chosen")):
        tells = _tells(texts[side], texts[other])
        if tells:
            yield from _tell_features(rows, records, texts[side], tells, side=side, other=f"{other} answers")


@judgement("check.feedback_tell_feature", "warn", kinds=("feedback",))
def no_feature_tells_the_liked(context: CheckContext, rows: JudgedRows) -> Iterator[Judgement]:
    """Find a feature that nearly all liked answers have and nearly none of the others, or the other way round."""
    sides = _by_label(rows)
    if min(map(len, sides.values())) < thresholds()["min_judged_rows"]:
        return
    sampled = {side: spread(records) for side, records in sides.items()}
    texts = {side: [rows.answer_text(record) for record in found.tolist()] for side, found in sampled.items()}
    for side, other in (("liked", "disliked"), ("disliked", "liked")):
        tells = _tells(texts[side], texts[other])
        if tells:
            yield from _tell_features(rows, sampled[side], texts[side], tells, side=side, other=f"{other} ones")


@judgement("check.feedback_tell_length", "warn", kinds=("feedback",))
def length_does_not_tell_the_liked(context: CheckContext, rows: JudgedRows) -> Iterator[Judgement]:
    """Find a length above which nearly all answers are liked and below which nearly none is, or the reverse."""
    sides, limits = _by_label(rows), thresholds()
    if min(map(len, sides.values())) < limits["min_judged_rows"]:
        return
    lengths = {side: np.sort(rows.trait("answer_chars")[records]) for side, records in sides.items()}
    for longer, shorter in (("liked", "disliked"), ("disliked", "liked")):
        border, share = best_border(lengths[longer], lengths[shorter])
        if share >= limits["min_tell_share"]:
            is_long = rows.trait("answer_chars") > border
            found = np.concatenate([sides[longer][is_long[sides[longer]]], sides[shorter][~is_long[sides[shorter]]]])
            yield from tell(
                rows,
                found,
                f"are told by their length alone: above {border} characters an answer is {longer}, else {shorter}. The "
                "model can learn the length instead of the quality.",
                f"Add {shorter} answers that are long and {longer} ones that are short.",
            )


@judgement("check.feedback_unbalanced", "warn", kinds=("feedback",))
def both_labels_weigh_alike(context: CheckContext, rows: JudgedRows) -> Iterator[Judgement]:
    """Find labels of which one outweighs the other, and give the weights that would balance them."""
    sides, limits = _by_label(rows), thresholds()
    num_liked, num_disliked = len(sides["liked"]), len(sides["disliked"])
    if not num_liked or not num_disliked or context.config.run.stage != "kto":
        return
    keys = context.config.part(KtoParams)
    if not keys.kto_rejected_weight or not keys.kto_chosen_weight:
        return
    ratio = keys.kto_chosen_weight * num_liked / (keys.kto_rejected_weight * num_disliked)
    if limits["min_label_ratio"] <= ratio <= limits["max_label_ratio"]:
        return
    rare = "liked" if num_liked < num_disliked else "disliked"
    yield from tell(
        rows,
        sides[rare],
        f"are {rare}; with kto_chosen_weight {keys.kto_chosen_weight:g} and kto_rejected_weight "
        f"{keys.kto_rejected_weight:g} the liked ones count {ratio:.2g} times as much as the others together.",
        f"Write {balancing_weight(num_liked, num_disliked)}: KTO asks for 1 to 4/3 times as much.",
    )


def balancing_weight(num_liked: int, num_disliked: int) -> str:
    """Give the weight that lets liked answers count as much as the others: that of the rarer kind is raised."""
    if num_liked < num_disliked:
        return f"kto_chosen_weight: {num_disliked / num_liked:.3g}, kto_rejected_weight: 1"
    return f"kto_chosen_weight: 1, kto_rejected_weight: {num_liked / num_disliked:.3g}"


def best_border(longer: npt.NDArray[np.int32], shorter: npt.NDArray[np.int32]) -> tuple[int, float]:
    """Find the length that best parts two sorted sides, and the mean share of either on its own side of it."""
    borders = np.unique(shorter)
    above = 1 - np.searchsorted(longer, borders, side="right") / len(longer)
    below = np.searchsorted(shorter, borders, side="right") / len(shorter)
    shares = (above + below) / 2
    best = int(np.argmax(shares))
    return int(borders[best]), float(shares[best])


def spread(records: Records) -> Records:
    """Take at most so many records, evenly over all."""
    if len(records) <= _SAMPLE:
        return records
    taken: Records = records[np.linspace(0, len(records) - 1, _SAMPLE).astype(np.int64)]
    return taken


def _by_label(rows: JudgedRows) -> dict[str, Records]:
    labels = rows.trait("label")
    return {
        side: np.flatnonzero(labels == np.uint64(label_hash(value)))
        for side, value in (("liked", True), ("disliked", False))
    }


def _tells(texts: Sequence[str], others: Sequence[str]) -> list[Tell]:
    limits = thresholds()
    return find_tells(texts, others, min_share=limits["min_feature_share"], max_opposite=limits["max_opposite_share"])


def _tell_features(
    rows: JudgedRows, records: Records, texts: Sequence[str], tells: Sequence[Tell], *, side: str, other: str
) -> Iterator[Judgement]:
    first = tells[0]
    found = records[[first.feature in features_of(text) for text in texts]]
    elsewhere = f"{share_of(round(first.share_of_others * 1000), 1000)}" if first.share_of_others else "none"
    sampled = f" (of {len(records)} that were read)" if len(records) == _SAMPLE else ""
    more = "; ".join(f"{100 * known.share:.0f} % {known.feature}" for known in tells[1:_NUM_SHOWN])
    yield from tell(
        rows,
        found,
        f"have a {side} answer{sampled} that {first.feature}, and {elsewhere} of the {other}: the model can learn that "
        f"instead of the quality.{f' Also: {more}.' if more else ''}",
        _REMEDY.format(side=side),
    )
