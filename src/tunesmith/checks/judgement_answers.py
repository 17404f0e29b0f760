# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rules about what answers teach: contradictions, boilerplate, placeholders, refusals only, one label only.

Answers of a closed vocabulary, as classification has them, are no boilerplate.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tunesmith.checks.context import CheckContext
from tunesmith.checks.judged_rows import JudgedRows, Mask, combined, first_of_equals, group_sizes
from tunesmith.checks.judgement import Judgement, judgement, tell
from tunesmith.checks.thresholds import thresholds
from tunesmith.data.grams import Numbers
from tunesmith.data.traits import Flag

_NUM_QUOTES = 3


@judgement("check.answers_contradict", "warn")
def prompts_have_one_answer(context: CheckContext, rows: JudgedRows) -> Iterator[Judgement]:
    """Find prompts with different answers, answers with both labels, texts with several, pairs that stand both ways.

    Conversations with earlier answers are left out: in trees of dialogues alternatives are the rule.
    """
    asked, answered = _asked_and_answered(rows)
    counts = (answered != 0) & ~rows.has_flag(Flag.SEVERAL_ANSWERS)
    records = np.flatnonzero(counts)
    _, first = np.unique(combined(asked[records], answered[records]), return_index=True)
    num_answers = group_sizes(asked[records][first])
    contested = asked[records][first][num_answers > 1]
    found = records[np.isin(asked[records], contested)]
    if len(found) and len(found) >= thresholds()["min_contradiction_share"] * len(rows):
        yield from tell(
            rows,
            found,
            f"share their prompt with another row and answer it differently ({len(np.unique(contested))} prompts), for "
            "example:",
            "Decide on one answer, or tell the model in the prompt what the difference depends on.",
            quotes=_contested_quotes(rows, found, asked, answered),
        )


def _asked_and_answered(rows: JudgedRows) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Give hashes of what should have one outcome, and of the outcome; 0 where a record has none."""
    context, answer = rows.trait("context"), rows.trait("answer")
    if rows.kind == "preference":
        rejected = rows.trait("rejected")
        low, high = np.minimum(answer, rejected), np.maximum(answer, rejected)
        return combined(context, low, high), np.where(answer == rejected, 0, answer).astype(np.uint64)
    if rows.kind in ("feedback", "labelled", "contrast"):
        return combined(context, answer), rows.trait("label")
    return context, answer


def _contested_quotes(
    rows: JudgedRows, found: Numbers, asked: npt.NDArray[np.uint64], answered: npt.NDArray[np.uint64]
) -> list[str]:
    """Quote two answers to the first prompts."""
    quotes = []
    for first in found[np.unique(first_of_equals(asked[found]))[:_NUM_QUOTES]].tolist():
        same = found[asked[found] == asked[first]]
        other = int(same[answered[same] != answered[first]][0])
        numbers = f"{rows.row_name(first)} and {rows.row_name(other)}"
        if rows.is_of_one_file(first, other):
            numbers = f"rows {rows.row_number(first)} and {rows.row_name(other).removeprefix('row ')}"
        quotes.append(f"{numbers} {rows.quote_answer(first)} and {rows.quote_answer(other)}")
    return quotes


@judgement("check.answers_share_skeleton", "warn", kinds=("supervised", "preference"))
def answers_are_written_for_their_prompt(context: CheckContext, rows: JudgedRows) -> Iterator[Judgement]:
    """Find answers that are one another with other names, numbers and quotations."""
    limits = thresholds()
    skeletons = rows.trait("skeleton")
    is_first = first_of_equals(rows.trait("row")) == np.arange(len(rows))
    judged = np.flatnonzero(is_first & (rows.trait("skeleton_letters") >= limits["min_skeleton_letters"]))
    if not len(judged) or has_closed_vocabulary(rows):
        return
    sizes = group_sizes(skeletons[judged])
    is_shared = sizes >= max(limits["min_skeleton_rows"], limits["min_skeleton_share"] * len(rows))
    in_small_groups = sizes >= limits["min_skeleton_rows"]
    if in_small_groups.sum() >= limits["min_boilerplate_share"] * len(rows):
        is_shared = in_small_groups
    found = judged[is_shared]
    if len(found):
        yield from tell(
            rows,
            found,
            f"have {_answers(len(np.unique(skeletons[found])))} between them, names, numbers and quoted words aside:",
            "Write answers for their own prompts, or keep a few rows of each mould.",
            quotes=_skeleton_quotes(rows, found, skeletons),
        )


def _answers(count: int) -> str:
    return f"{count} answers" if count > 1 else "one answer"


def _skeleton_quotes(rows: JudgedRows, found: Numbers, skeletons: npt.NDArray[np.uint64]) -> list[str]:
    """Quote one answer of each of the largest groups."""
    _, first, counts = np.unique(skeletons[found], return_index=True, return_counts=True)
    largest = np.lexsort([first, -counts])[:_NUM_QUOTES]
    return [
        f"{count} rows like {rows.quote_answer(record)}"
        for record, count in zip(found[first[largest]].tolist(), counts[largest].tolist(), strict=True)
    ]


def has_closed_vocabulary(rows: JudgedRows) -> bool:
    """Say whether a few short answers serve all prompts, none of them nearly all: labels in words."""
    limits = thresholds()
    counts = np.unique(rows.trait("answer"), return_counts=True)[1]
    return bool(
        1 < len(counts) <= min(limits["max_labels"], limits["max_label_share"] * len(rows))
        and counts.max() <= limits["max_one_label_share"] * len(rows)
        and rows.trait("answer_chars").max() <= limits["max_label_characters"]
    )


@judgement("check.answers_placeholder", "warn", kinds=("supervised", "preference", "feedback"))
def answers_are_written(context: CheckContext, rows: JudgedRows) -> Iterator[Judgement]:
    """Find answers that hold a place or a slot that was never filled in."""
    is_unwritten: Mask = rows.has_flag(Flag.UNFILLED)
    if not has_closed_vocabulary(rows):
        is_unwritten = is_unwritten | rows.has_flag(Flag.PLACEHOLDER)
    found = np.flatnonzero(is_unwritten)
    if len(found) and len(found) >= thresholds()["min_placeholder_share"] * len(rows):
        yield from tell(
            rows,
            found,
            "hold a placeholder instead of an answer, or an unfilled slot in it:",
            "Write the answers or fill in the slots, or remove the rows.",
            quotes=[f"{rows.row_name(one)} {rows.quote_answer(one)}" for one in found[:_NUM_QUOTES].tolist()],
        )


@judgement("check.answers_one_sided", "warn", kinds=("supervised", "preference"))
def answers_show_both_sides(context: CheckContext, rows: JudgedRows) -> Iterator[Judgement]:
    """Find sets that teach to decline, or never to, without rows of the opposite."""
    limits = thresholds()
    refuses = rows.has_flag(Flag.REFUSAL)
    if len(rows) < limits["min_judged_rows"]:
        return
    other = rows.has_flag(Flag.REJECTED_REFUSAL)
    one_way, other_way = refuses & ~other, other & ~refuses
    sides = [(one_way, other_way, "prefer declining"), (other_way, one_way, "reject declining")]
    if rows.kind == "supervised":
        sides = [(refuses, np.zeros(len(rows), dtype=bool), "decline")]
    for one, opposite, taught in sides:
        if one.mean() >= limits["min_one_sided_share"] and opposite.mean() <= limits["max_opposite_share"]:
            yield from tell(
                rows,
                np.flatnonzero(one),
                f"{taught}{_against(rows, opposite)}: the model learns to do so everywhere. For example:",
                "Add rows in which the opposite is right.",
                quotes=[rows.quote_answer(record) for record in np.flatnonzero(one)[:_NUM_QUOTES].tolist()],
            )


def _against(rows: JudgedRows, opposite: Mask) -> str:
    return f", and {int(opposite.sum())} show the opposite" if rows.kind == "preference" else ""


@judgement("check.labels_equal", "warn", kinds=("feedback", "labelled"))
def labels_differ(context: CheckContext, rows: JudgedRows) -> Iterator[Judgement]:
    """Find sets in which every row has the same label."""
    if len(rows) > 1 and len(np.unique(rows.trait("label"))) == 1:
        yield from tell(
            rows,
            np.arange(len(rows)),
            "have the same label, so there is nothing to tell apart.",
            "Add rows with other labels, or check which column is read as the label.",
        )
