# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A rule about identifiers in answers that their prompt does not contain: they teach to make names up.

What an identifier is says `identifier_pattern`; the rule is off without it.
"""

from collections.abc import Iterator

import numpy as np
import regex

from tunesmith.checks.context import CheckContext
from tunesmith.checks.judged_rows import JudgedRows
from tunesmith.checks.judgement import Judgement, judgement, tell
from tunesmith.core.errors import Problem, Where
from tunesmith.templates.run_template import policy_of
from tunesmith.templates.weights import trains_all

_NUM_QUOTES = 5
_SECONDS_A_ROW = 1.0


@judgement("check.identifiers_foreign", "warn", kinds=("supervised", "preference", "feedback"))
def identifiers_come_from_the_prompt(context: CheckContext, rows: JudgedRows) -> Iterator[Judgement]:
    """Find answers with identifiers that stand nowhere before them."""
    pattern = context.config.data.identifier_pattern
    if pattern is None or trains_all(policy_of(context.config)):
        return
    foreign: dict[int, str] = {}
    for record in range(len(rows)):
        try:
            name = _foreign_name(rows, record, pattern)
        except TimeoutError:
            context.problems.append(_too_slow(rows.row_number(record)))
            return
        if name is not None:
            foreign[record] = name
    if foreign:
        yield from tell(
            rows,
            np.array(list(foreign)),
            "have an identifier in the answer that stands nowhere in the prompt, for example:",
            "Give the prompt what the answer needs (a schema, a list), or correct the answer.",
            quotes=[f"{rows.row_name(one)} {name}" for one, name in list(foreign.items())[:_NUM_QUOTES]],
        )


def _foreign_name(rows: JudgedRows, record: int, pattern: str) -> str | None:
    """Give the first identifier of an answer that the prompt lacks; the prompt is decoded only when there is one."""
    names = _names(rows.answer_text(record), pattern)
    if not names:
        return None
    known = rows.prompt_text(record)
    return next((name for name in names if name not in known), None)


def _names(text: str, pattern: str) -> list[str]:
    return list(dict.fromkeys(found.group() for found in regex.finditer(pattern, text, timeout=_SECONDS_A_ROW)))


def _too_slow(row: int) -> Problem:
    return Problem(
        code="check.identifier_pattern_slow",
        message=f"identifier_pattern takes more than {_SECONDS_A_ROW:g} second on row {row}.",
        remedy="Write it without repetitions inside repetitions, such as (a+)+.",
        where=Where(key="identifier_pattern"),
    )
