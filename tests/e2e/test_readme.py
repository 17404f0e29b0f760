# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The README is true: its marked commands run, one after the other, in a copy of what a clone holds; its links exist.

A block is marked by `<!-- run -->` on the line before it, or `<!-- run: with input "…" and "…" -->`. CI itself runs
`make quickstart` and `make test`.
"""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MARKED_BLOCK = re.compile(r"<!-- run(?P<input>[^>]*) -->\n```bash\n(?P<commands>.*?)```", re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)[^)]*\)")
DOCUMENTS = ("README.md", "AGENTS.md", "CONTRIBUTING.md", "SECURITY.md")


def marked_commands(readme: str) -> list[tuple[str, str]]:
    """List the marked commands in order, each with the text to type into it."""
    return [
        (line, "".join(f"{typed}\n" for typed in re.findall(r'"([^"]*)"', block["input"])))
        for block in MARKED_BLOCK.finditer(readme)
        for line in block["commands"].splitlines()
    ]


def test_every_command_of_the_readme_is_run_by_someone(repository: Path) -> None:
    readme = (repository / "README.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"^(?:tunesmith|make) .*?(?=\s+#|$)", readme, re.MULTILINE))
    run = {command for command, _ in marked_commands(readme)}
    assert shown - run == {"make quickstart", "make test"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_of_the_readme_run(
    repository: Path, tmp_path: Path, demo_model: Path, tunesmith_command: Callable[..., Any]
) -> None:
    for folder in ("data", "examples"):
        shutil.copytree(repository / folder, tmp_path / folder)
    commands = marked_commands((repository / "README.md").read_text(encoding="utf-8"))
    assert len(commands) >= 6
    for command, typed in commands:
        program, *words = shlex.split(command)
        assert program == "tunesmith"
        done = tunesmith_command(*words, stdin=typed, timeout=600)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert (tmp_path / "output" / "try" / "adapter_model.safetensors").is_file()
    assert (tmp_path / "output" / "try-merged" / "model.safetensors").is_file()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(repository: Path, document: str) -> None:
    text = (repository / document).read_text(encoding="utf-8")
    dead = [target for target in LINK.findall(text) if not (repository / target).exists()]
    assert not dead, f"{document} links to {dead}"
