# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A folder imports only from lower layers, never from a sibling of its own layer or from above; and no cycles."""

import ast

from tests.architecture.source import Import, imports_of, package_modules

LAYERS = {
    "core": 0,
    "config": 1,
    "templates": 2,
    "media": 2,
    "models": 2,
    "objectives": 2,
    "rewards": 2,
    "data": 3,
    "engines": 3,
    "training": 4,
    "checks": 4,
    "rollouts": 4,
    "benchmarks": 4,
    "server": 4,
    "jobs": 5,
    "cli": 6,
    "webui": 6,
}
# tunesmith/__init__.py and tunesmith/__main__.py stand above everything.
TOP = 7


def folder_of(module: str) -> str:
    """Name the folder of a dotted module of the package; the top files have the empty one."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in LAYERS else ""


def refused_imports(module: str, tree: ast.AST) -> list[str]:
    """List the imports of one module that its layer forbids."""
    own = folder_of(module)
    return [
        f"{module}:{found.line} imports {target}"
        for found in imports_of(tree, module)
        for target in [target_of(found)]
        if target is not None
        and folder_of(target) != own
        and LAYERS.get(folder_of(target), TOP) >= LAYERS.get(own, TOP)
    ]


def target_of(found: Import) -> str | None:
    """Name the module of ours that an import reaches, or None; the version is everybody's to read."""
    if found.module.split(".")[0] != "tunesmith" or (found.module, found.name) == ("tunesmith", "__version__"):
        return None
    is_folder = found.module == "tunesmith" and found.name is not None
    return f"tunesmith.{found.name}" if is_folder else found.module


def test_every_folder_has_a_layer() -> None:
    folders = {module.name.split(".")[1] for module in package_modules() if module.name.count(".") > 1}
    assert folders <= set(LAYERS), f"folders without a layer: {sorted(folders - set(LAYERS))}"


def test_imports_go_down_only() -> None:
    problems = [problem for module in package_modules() for problem in refused_imports(module.name, module.tree)]
    assert not problems, "\n".join(problems)


def test_the_rule_sees_functions_and_type_checking() -> None:
    source = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from tunesmith.models import load
def run():
    import tunesmith.jobs.train
    from tunesmith import cli
    from .. import templates
from tunesmith.config.section import Section
from tunesmith import __version__
"""
    assert refused_imports("tunesmith.data.pipeline", ast.parse(source)) == [
        "tunesmith.data.pipeline:6 imports tunesmith.jobs.train",
        "tunesmith.data.pipeline:7 imports tunesmith.cli",
    ]
    assert len(refused_imports("tunesmith.templates.chat", ast.parse(source))) == 3


def runtime_imports(tree: ast.Module) -> list[ast.stmt]:
    """List the top-level statements that run on import: everything but `if TYPE_CHECKING` and definitions' bodies."""
    return [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]


def test_no_import_cycles() -> None:
    modules = {module.name: module for module in package_modules()}
    edges: dict[str, set[str]] = {}
    for name, module in modules.items():
        body = ast.Module(body=runtime_imports(module.tree), type_ignores=[])
        found = [(item.module, f"{item.module}.{item.name}") for item in imports_of(body, name)]
        edges[name] = {longer if longer in modules else shorter for shorter, longer in found} & set(modules) - {name}
    while leaves := [name for name, targets in edges.items() if not targets & set(edges)]:
        for name in leaves:
            del edges[name]
    assert not edges, f"modules in or above an import cycle: {sorted(edges)}"
