# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Problems and results as people and programs see them."""

import io
import json
import math
from pathlib import Path

import pytest

from tunesmith.cli.report import Outcome, has_colours, paragraph, place_of, result_lines, show_outcome, to_plain
from tunesmith.core.errors import Problem, Where, warning

BROKEN = Problem(
    code="data.role_unknown",
    message="The role 'bot' is unknown.",
    remedy="Write user or assistant.",
    where=Where(file="a.json", dataset="a", rows=tuple(range(30)), num_rows=30),
)
IDLE = warning(
    "config.keys_inactive", "lora_rank has no effect.", "Remove it.", file="run.yaml", line=3, key="lora_rank"
)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_problem_is_one_paragraph_with_what_where_why_and_what_to_do() -> None:
    text = paragraph(IDLE, width=60)
    assert "\n\n" not in text
    assert " ".join(text.split()) == (
        "warning config.keys_inactive (run.yaml, line 3; key lora_rank): lora_rank has no effect. Remove it."
    )
    assert all(len(line) <= 60 for line in text.splitlines())


def test_places_list_the_first_rows_and_count_all() -> None:
    assert place_of(BROKEN.where) == "a.json; data set a; rows 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, … (30 rows)"
    assert place_of(Where()) == ""


def test_colours_only_on_a_terminal_that_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert has_colours(Terminal())
    assert not has_colours(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not has_colours(Terminal())
    assert "\x1b[" in paragraph(BROKEN, is_coloured=True)
    assert "\x1b[" not in paragraph(BROKEN)


def test_json_has_the_contracts_form(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = Outcome(result={"loss": math.nan, "folder": Path("o")}, warnings=(IDLE,), problems=(BROKEN,))
    assert show_outcome(outcome, wants_json=True) == 3
    captured = capsys.readouterr()
    shown = json.loads(captured.out)
    assert list(shown) == ["ok", "error", "errors", "warnings", "loss", "folder"]
    assert shown["ok"] is False
    assert shown["error"] == shown["errors"][0] == BROKEN.to_json()
    assert set(shown["error"]) == {"code", "message", "where", "remedy"}
    assert shown["error"]["where"] == {
        "file": "a.json", "line": None, "key": None, "dataset": "a", "rows": list(range(30)), "num_rows": 30,
    }  # fmt: skip
    assert shown["warnings"] == [IDLE.to_json()]
    assert shown["loss"] is None
    assert "data.role_unknown" in captured.err
    assert "config.keys_inactive" in captured.err


def test_a_result_cannot_hide_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    show_outcome(Outcome(result={"ok": True, "warnings": "none"}, problems=(BROKEN,)), wants_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["ok"] is False
    assert shown["warnings"] == []


def test_several_problems_end_with_the_first_class_of_the_contracts_order() -> None:
    def ends_with(*names: str) -> int:
        problems = [Problem(code=name, message="", remedy="") for name in names]
        return Outcome(problems=tuple(problems)).exit_code

    assert ends_with("data.role_unknown", "resources.disk_full", "config.key_unknown") == 2
    assert ends_with("config.key_unknown", "security.pickle_refused") == 7
    assert ends_with("data.role_unknown", "environment.package_missing") == 4
    assert ends_with("internal.error_unexpected") == 70
    assert Outcome().exit_code == 0


def test_warnings_shown_before_are_not_shown_again(capsys: pytest.CaptureFixture[str]) -> None:
    show_outcome(Outcome(warnings=(IDLE,)), wants_json=False, already_shown=(IDLE,))
    assert capsys.readouterr().err == ""


def test_results_for_people_are_one_line_a_value() -> None:
    result = {
        "model": "m",
        "train": {"loss": 0.123456789, "steps": 7},
        "free_bytes": 2**31,
        "rows": [{"a": 1}],
        "x": [],
    }
    assert result_lines(result) == [
        "model        m",
        "train.loss   0.123457",
        "train.steps  7",
        "free_bytes   2.00 GiB",
        "rows         1 entries",
        "x            none",
    ]


def test_plain_values() -> None:
    assert to_plain({"a": (1, Path("b")), 2: math.inf, "c": {"d": None}}) == {
        "a": [1, "b"],
        "2": None,
        "c": {"d": None},
    }
