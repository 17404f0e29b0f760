# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The package's modules as parsed trees, and the imports each of them makes; what the architecture tests read."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "tunesmith"
CODE_FOLDERS = ("src", "tests", "scripts", "bench", ".ci")


@dataclass(frozen=True)
class Module:
    """One Python file: its path from the root, dotted name (for files of the package), text and syntax tree."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def place(self) -> str:
        """Path from the root of the checkout, with slashes."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def name(self) -> str:
        """Dotted module name, for a file of the package."""
        parts = self.path.relative_to(ROOT / "src").with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@dataclass(frozen=True)
class Import:
    """One import statement: the module named, and the name taken from it (None for a plain import)."""

    line: int
    module: str
    name: str | None


@cache
def read_modules(*folders: str) -> tuple[Module, ...]:
    """Parse every Python file below the given folders of the checkout, sorted by path."""
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    texts = {path: path.read_text(encoding="utf-8") for path in paths}
    return tuple(Module(path, text, ast.parse(text, str(path))) for path, text in texts.items())


def package_modules() -> tuple[Module, ...]:
    """Parse the package."""
    return read_modules("src")


def imports_of(tree: ast.AST, module_name: str = "") -> Iterator[Import]:
    """Walk all imports of a tree, also those inside functions and under TYPE_CHECKING; relative ones made absolute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*module_name.split(".")[: -node.level], *([base] if base else [])])
            yield from (Import(node.lineno, base, alias.name) for alias in node.names)


def tracked_files() -> list[Path]:
    """List the files that git tracks, or nothing outside a checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False
    )
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]
