# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What users hold on to: the public names, the configuration keys and the error codes equal checked-in lists.

Growing a list is a decision: edit the list in the same commit.
"""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import tunesmith
from tests.architecture.source import PACKAGE, ROOT, package_modules
from tunesmith.core.errors import ExitCode, error_table

HERE = Path(__file__).parent
CODE_FUNCTIONS = {"refusal", "warning", "Problem", "Registry"}


def read_list(name: str) -> list[str]:
    """Read a checked-in list, one name a line."""
    return (HERE / name).read_text(encoding="utf-8").split()


def test_public_names_are_the_decided_ones() -> None:
    assert sorted(tunesmith.__all__) == list(tunesmith.__all__) == read_list("public_api.txt")


def test_config_keys_are_the_decided_ones() -> None:
    index = json.loads((PACKAGE / "config" / "index.json").read_text(encoding="utf-8"))
    listed, known = read_list("config_keys.txt"), set(index["keys"])
    decided = set(listed)
    assert listed == sorted(decided), "config_keys.txt is not sorted"
    assert known == decided, f"new: {sorted(known - decided)}; gone: {sorted(decided - known)}"


def codes_raised(tree: ast.AST) -> Iterator[str]:
    """Walk the literal codes handed to the functions that make problems."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            first = node.args[:1] if name in CODE_FUNCTIONS - {"Registry"} else []
            named = [item.value for item in node.keywords if item.arg == "code"]
            yield from (
                item.value
                for item in (*first, *named)
                if isinstance(item, ast.Constant) and isinstance(item.value, str) and "." in item.value
            )


def test_every_code_raised_is_in_the_table() -> None:
    unknown = {code for module in package_modules() for code in codes_raised(module.tree)} - set(error_table())
    assert not unknown, sorted(unknown)


def test_every_code_of_the_table_is_used() -> None:
    texts = [module.text for module in package_modules()]
    texts += [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.yaml") if path.name != "errors.yaml"]
    everything = "\n".join(texts)
    unused = [code for code in error_table() if not re.search(rf"[\"'\s]{re.escape(code)}\b", everything)]
    assert not unused, f"codes that nothing raises: {unused}"


def test_the_table_of_codes_is_well_formed() -> None:
    exits = {code.name.lower() for code in ExitCode}
    for code, entry in error_table().items():
        assert re.fullmatch(r"[a-z]+\.[a-z0-9]+(_[a-z0-9]+)+", code), f"{code} is not <area>.<thing>_<state>"
        assert set(entry) == {"exit", "summary"}, code
        assert entry["exit"] in exits, code
        assert entry["summary"].endswith("."), code


def test_generated_files_are_fresh() -> None:
    command = [sys.executable, "scripts/generate.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"run: python scripts/generate.py\n{done.stdout}{done.stderr}"
