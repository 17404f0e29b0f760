# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Every file under examples/ resolves as it is, and draws no warning: people start from these."""

from pathlib import Path

import pytest

from tunesmith.config.load import load_config
from tunesmith.config.resolve import Command

ROOT = Path(__file__).resolve().parents[2]
COMMANDS: dict[str, Command] = {"chat": "chat", "export": "export"}
EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))


def command_of(example: Path) -> Command:
    """Tell from an example's name which command it is for."""
    return COMMANDS.get(example.stem, "train")


def test_there_are_examples() -> None:
    assert {command_of(example) for example in EXAMPLES} >= {"train", "chat", "export"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_example_resolves_without_a_warning(example: Path) -> None:
    config = load_config(example, command=command_of(example))
    assert config.flat["model_name_or_path"] in ("smollm2-135m", "output/quickstart/merged")
    assert [problem.code for problem in config.warnings] == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_example_begins_with_what_it_does_and_how_to_run_it(example: Path) -> None:
    first, second = example.read_text(encoding="utf-8").splitlines()[:2]
    assert first.startswith("# ")
    place = example.relative_to(ROOT).as_posix()
    assert second == f"#   tunesmith {command_of(example)} {place}"
