# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rules about rows that repeat another one, exactly or nearly: they weigh more than their number says."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tunesmith.checks.context import CheckContext
from tunesmith.checks.judged_rows import JudgedRows, first_of_equals
from tunesmith.checks.judgement import Judgement, judgement, tell
from tunesmith.checks.thresholds import thresholds
from tunesmith.data.grams import Numbers

_NUM_QUOTES = 3


@judgement("check.rows_duplicate", "warn")
def rows_are_distinct(context: CheckContext, rows: JudgedRows) -> Iterator[Judgement]:
    """Find training rows that repeat another one; rows repeated on purpose by num_samples do not count."""
    repeated = np.flatnonzero(_repeats(rows))
    if len(repeated) and len(repeated) >= thresholds()["min_duplicate_share"] * len(rows):
        yield from tell(
            rows,
            repeated,
            "repeat an earlier one and weigh double, for example:",
            "Remove the repeated rows, unless the weight is meant.",
            quotes=_quotes(rows, repeated, first_of_equals(rows.trait("row"))),
        )


@judgement("check.rows_near_duplicate", "warn")
def rows_differ(context: CheckContext, rows: JudgedRows) -> Iterator[Judgement]:
    """Find training rows that nearly equal another one, beside those that equal it."""
    threshold = context.config.data.near_duplicate_threshold
    if not threshold:
        return
    clusters = rows.clusters(threshold)
    is_near = (clusters != np.arange(len(rows))) & ~_repeats(rows) & _is_long_enough(rows)
    near = np.flatnonzero(is_near)
    if len(near) and len(near) >= thresholds()["min_near_duplicate_share"] * len(rows):
        groups = len(np.unique(clusters[near]))
        yield from tell(
            rows,
            near,
            f"nearly equal an earlier one (similarity {threshold:g} or more; {groups} "
            f"{'groups' if groups > 1 else 'group'}), for example:",
            "Keep one of each group, or see to it that the groups are meant; near_duplicate_threshold: 0 switches "
            "this rule off.",
            quotes=_quotes(rows, near, clusters),
        )


def _repeats(rows: JudgedRows) -> npt.NDArray[np.bool_]:
    """Say which records equal an earlier one."""
    repeats: npt.NDArray[np.bool_] = first_of_equals(rows.trait("row")) != np.arange(len(rows))
    return repeats & _is_long_enough(rows)


def _is_long_enough(rows: JudgedRows) -> npt.NDArray[np.bool_]:
    """Leave out headings and other short lines of plain texts."""
    enough: npt.NDArray[np.bool_] = rows.trait("prompt_chars") >= thresholds()["min_duplicate_characters"]
    return enough if rows.kind == "text" else np.ones(len(rows), dtype=bool)


def _quotes(rows: JudgedRows, records: Numbers, leaders: Numbers) -> list[str]:
    """Quote the first records with the one that each repeats."""
    return [
        f"{rows.row_name(record)} as {rows.row_name(int(leaders[record]))} {rows.quote_answer(record)}"
        for record in records[:_NUM_QUOTES].tolist()
    ]
