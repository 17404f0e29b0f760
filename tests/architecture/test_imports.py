# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Every module can be imported; the command line and its lower layers do so without torch; dynamic imports are few."""

import ast
import importlib
import json
import subprocess
import sys

from tests.architecture.source import package_modules

# Where a module may be imported by a computed name (design, section 7), besides which imports stand at the top.
DYNAMIC_IMPORTS = {
    "src/tunesmith/core/registry.py",
    "src/tunesmith/core/optional.py",
}
HEAVY = ("torch", "transformers", "peft", "accelerate", "datasets", "pandas", "pyarrow", "matplotlib")
LIGHT_FOLDERS = ("tunesmith.core", "tunesmith.config", "tunesmith.cli")


def test_every_module_is_importable() -> None:
    broken = []
    for module in package_modules():
        if module.path.name != "__main__.py":
            try:
                importlib.import_module(module.name)
            except ImportError as error:
                broken.append(f"{module.name}: {error}")
    assert not broken, "\n".join(broken)


def test_the_command_line_needs_no_heavy_library() -> None:
    light = [name for name in (module.name for module in package_modules()) if name.startswith(LIGHT_FOLDERS)]
    names = ["tunesmith", *(name for name in light if not name.endswith("__main__"))]
    program = (
        "import importlib, json, sys\n"
        "for name in json.loads(sys.argv[1]): importlib.import_module(name)\n"
        "print(json.dumps([name for name in json.loads(sys.argv[2]) if name in sys.modules]))"
    )
    command = [sys.executable, "-c", program, json.dumps(names), json.dumps(HEAVY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_dynamic_imports_stand_where_they_are_declared() -> None:
    dynamic = {
        module.place
        for module in package_modules()
        for node in ast.walk(module.tree)
        if (isinstance(node, ast.Attribute) and node.attr in ("import_module", "spec_from_file_location", "run_module"))
        or (isinstance(node, ast.Name) and node.id in ("__import__", "import_module"))
    }
    assert dynamic <= DYNAMIC_IMPORTS, sorted(dynamic - DYNAMIC_IMPORTS)


def test_imports_stand_at_the_top() -> None:
    inside = [
        f"{module.place}:{node.lineno}"
        for module in package_modules()
        for function in ast.walk(module.tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert not inside, "\n".join(inside)
