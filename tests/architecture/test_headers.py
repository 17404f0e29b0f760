# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Every Python file carries the licence header and begins with a docstring of one to three sentences."""

import ast
import re

from tests.architecture.source import CODE_FOLDERS, ROOT, read_modules

HEADER = "# Copyright 2026 the tunesmith authors\n# SPDX-License-Identifier: Apache-2.0\n"
MAX_DOCSTRING_LINES = 16


def test_every_python_file_has_the_header() -> None:
    without = [
        module.place
        for module in read_modules(*CODE_FOLDERS)
        if not re.sub(r"\A#!.*\n", "", module.text).startswith(HEADER)
    ]
    assert not without, "\n".join(without)


def test_every_module_says_what_it_is() -> None:
    silent = []
    for module in read_modules(*CODE_FOLDERS):
        docstring = ast.get_docstring(module.tree)
        is_empty_package = module.path.name == "__init__.py" and not module.tree.body
        if not is_empty_package and (not docstring or docstring.count("\n") >= MAX_DOCSTRING_LINES):
            silent.append(module.place)
    assert not silent, "no docstring, or one of a page:\n" + "\n".join(silent)


def test_build_files_have_the_header() -> None:
    names = (
        "pyproject.toml",
        "constraints.txt",
        "Makefile",
        "Dockerfile",
        "docker/Dockerfile.cuda",
        "mkdocs.yml",
        ".ci/run",
    )
    without = [name for name in names if HEADER not in (ROOT / name).read_text(encoding="utf-8")[:400]]
    assert not without, "\n".join(without)
