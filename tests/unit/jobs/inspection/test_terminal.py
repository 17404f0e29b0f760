# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The text form: within the width, marked without colours, and with nothing that a terminal would obey."""

import re

import pytest
from rich.cells import cell_len

from tests.unit.jobs.inspection.made import made_inspection, made_row
from tunesmith.jobs.inspection.facts import ShownSegment, TokenRun
from tunesmith.jobs.inspection.terminal import Screen, to_text


@pytest.mark.parametrize("width", [40, 80, 110])
def test_no_line_is_wider_than_the_screen(width: int) -> None:
    wide = TokenRun(state="trained", texts=("世界" * 200,), weight=1.0)
    row = made_row(segments=(ShownSegment(name="text", parent=None, num_tokens=1, num_supervised=1, runs=(wide,)),))
    lines = to_text(made_inspection(shown=(row, made_row())), Screen(width=width)).splitlines()
    assert len(lines) > 40
    assert max(map(cell_len, lines)) <= width


def test_everything_is_told() -> None:
    text = " ".join(to_text(made_inspection(), Screen()).split())
    for part in (
        "100 read, 98 used, 2 dropped",
        "1,052, of which 312 are trained (29.7%)",
        "1 sequence of 2,048 tokens, 51.0% full",
        "shortest 4 · median 8 · 95 % up to 11 · longest 12",
        "sums train alpaca 100 98 1,052 30%",
        "dropped 2 data.type_wrong: broken (rows 7, 8 of sums.jsonl)",
        "error data.type_wrong (2.0% of the rows)",
        "Write it as text. rows 7, 8 of sums.jsonl",
        "warning check.rows_duplicate (30.0% of the rows)",
        "row 5 of sums.jsonl · longest · 12 tokens, 5 trained · cut: middle of long prompt messages left out",
        "What is 2[- plus a lot-]",
        "⟦It is 4.<|im_end|>⟧",
        "chosen after prompt · 5 tokens, 5 trained",
        "row 7 is not shown: dropped: broken",
    ):
        assert part in text, part


def test_rows_cannot_reach_the_terminal() -> None:
    plain = to_text(made_inspection(), Screen())
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", plain)
    assert "⟨U+001B⟩[2J⟨U+202E⟩" in plain
    coloured = to_text(made_inspection(), Screen(has_colours=True))
    assert "\x1b[1;32mIt is 4." in coloured and "⟦" not in coloured
    assert not re.search("\x1b(?!\\[[0-9;]*m)", coloured), "only colours"


def test_a_console_without_unicode_gets_plain_marks() -> None:
    text = to_text(made_inspection(), Screen(is_unicode=False))
    assert text.isascii() and "[[It is" in text and "4.<|im_end|>]]" in text and "user\\n" in text


def test_nothing_tokenised_is_said() -> None:
    bare = made_inspection(
        rows_kept=None, tokens=None, supervised_tokens=None, lengths=None, packing=None, sources=(), ledger=(),
        shown=(), not_shown={},
    )  # fmt: skip
    text = to_text(bare, Screen())
    assert "100 read, none could be tokenised" in text and "data.type_wrong" in text and "Lengths" not in text
