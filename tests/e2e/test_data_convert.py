# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""`tunesmith data convert` from the command line: results on stdout, refusals by code, no traceback."""

import json
from pathlib import Path

import pytest

from tests.conftest import RunCommand


def test_a_file_is_converted_and_the_told_way_back_works(tunesmith_command: RunCommand, tmp_path: Path) -> None:
    rows = [{"instruction": "a", "history": [["b", "c"]]}, {"instruction": "d", "system": "e"}]
    (tmp_path / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    there = tunesmith_command("data", "convert", "rows.json", "rows.csv", "--json")
    assert there.returncode == 0, there.stderr
    assert there.json["ok"] is True and there.json["rows"] == 2
    assert there.json["columns"] == ["instruction", "history", "system"]
    words = there.json["way_back"].replace('"', "").split()
    back = tunesmith_command(*words[1:], "--overwrite")
    assert back.returncode == 0, back.stderr
    assert json.loads((tmp_path / "rows.json").read_text(encoding="utf-8")) == rows


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["frobnicate", "a.csv", "b.json"], "cli.word_unknown"),
        (["convert", "a.csv"], "cli.word_unknown"),
        (["convert", "a.csv", "b.json", "--cells", "x"], "cli.word_unknown"),
        (["convert", "a.csv", "b.json", "--frobnicate"], "cli.word_unknown"),
        (["convert", "gone.csv", "b.json"], "data.file_missing"),
    ],
)
def test_wrong_words_are_refused_by_code(words: list[str], code: str, tunesmith_command: RunCommand) -> None:
    result = tunesmith_command("data", *words, "--json")
    assert result.returncode in (2, 3)
    assert result.json["error"]["code"] == code
    assert "Traceback" not in result.stderr


def test_help_needs_no_files(tunesmith_command: RunCommand) -> None:
    result = tunesmith_command("data", "--help")
    assert result.returncode == 0 and "--cells" in result.stdout
