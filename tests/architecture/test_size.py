# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Size gates: no file above 400 lines, no function above 60, at most 6 parameters; no vague names; no silenced gates.

Complexity and the number of branches, returns and statements are ruff's, with the limits of pyproject.toml.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from tests.architecture.source import CODE_FOLDERS, Module, package_modules, read_modules

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 6
VAGUE_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "extras", "extra"}
# S506 (unsafe YAML) is judged by test_safety.py, which knows a loader derived from the safe one.
SILENCED_GATE = re.compile(r"#\s*noqa:?.*\b(C901|PL[A-Z]\d+|S(?!506)\d{3})|#\s*noqa(?!:)|#\s*ruff: noqa")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions_of(module: Module) -> Iterator[Function]:
    """Walk all functions and methods of a module."""
    return (node for node in ast.walk(module.tree) if isinstance(node, Function))


def num_parameters(function: Function) -> int:
    """Count parameters without self, cls, *args and **kwargs."""
    arguments = function.args
    names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def test_no_file_is_too_long() -> None:
    lengths = {module.place: module.text.count("\n") for module in read_modules(*CODE_FOLDERS)}
    assert {place: lines for place, lines in lengths.items() if lines > MAX_FILE_LINES} == {}


def test_no_function_is_too_long() -> None:
    long = [
        f"{module.place}:{function.lineno} {function.name}: {lines} lines"
        for module in read_modules(*CODE_FOLDERS)
        for function in functions_of(module)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > MAX_FUNCTION_LINES
    ]
    assert not long, "\n".join(long)


def test_no_function_takes_too_many_parameters() -> None:
    wide = [
        f"{module.place}:{function.lineno} {function.name}: {num_parameters(function)} parameters"
        for module in package_modules()
        for function in functions_of(module)
        if num_parameters(function) > MAX_PARAMETERS
    ]
    assert not wide, "\n".join(wide)


def test_no_vague_names() -> None:
    places = [PurePosixPath(module.place) for module in read_modules(*CODE_FOLDERS)]
    vague = [str(place) for place in places if VAGUE_NAMES & {*place.parts, place.stem}]
    assert not vague, "\n".join(vague)


def test_no_gate_is_silenced() -> None:
    silenced = [
        f"{module.place}:{number} {line.strip()}"
        for module in package_modules()
        for number, line in enumerate(module.text.splitlines(), 1)
        if SILENCED_GATE.search(line)
    ]
    assert not silenced, "\n".join(silenced)


def test_nothing_is_unfinished() -> None:
    marks = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX|NotImplemented" + r"Error)\b")
    unfinished = [
        f"{module.place}:{number} {line.strip()}"
        for module in read_modules(*CODE_FOLDERS)
        for number, line in enumerate(module.text.splitlines(), 1)
        if marks.search(line)
    ]
    assert not unfinished, "\n".join(unfinished)
