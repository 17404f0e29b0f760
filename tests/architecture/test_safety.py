# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""No unpickling, evaluated strings, remote code or shell, and no file opened with the platform's encoding."""

import ast

from tests.architecture.source import package_modules

UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
UNSAFE_CALLS = {
    "torch.load",
    "yaml.load",
    "yaml.full_load",
    "yaml.unsafe_load",
    "yaml.load_all",
    "pandas.read_pickle",
    "os.system",
    "os.popen",
    "eval",
    "exec",
    "compile",
}
SAFE_LOADERS = {"yaml.SafeLoader", "yaml.CSafeLoader"}
# Calls named `open` that are not of text files.
OTHER_OPEN = {"os.open", "Image.open", "av.open", "webbrowser.open", "tarfile.open", "zipfile.open"}


def dotted(node: ast.expr) -> str:
    """Write a name or attribute as a.b.c; the empty string for anything else."""
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else node.attr
    return node.id if isinstance(node, ast.Name) else ""


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    """Find a keyword argument of a call."""
    return next((item.value for item in call.keywords if item.arg == name), None)


def is_true(node: ast.expr | None) -> bool:
    """Say whether an argument is given and anything but a literal False or None."""
    return node is not None and not (isinstance(node, ast.Constant) and node.value in (False, None))


def unsafe_reason(call: ast.Call) -> str | None:
    """Say why a call is refused, or None."""
    name = dotted(call.func)
    if name in UNSAFE_CALLS:
        return name
    if is_true(keyword(call, "shell")):
        return "shell=True"
    for name_of_risk in ("allow_pickle", "trust_remote_code"):
        if is_true(keyword(call, name_of_risk)):
            return f"{name_of_risk} is not a literal False"
    if is_text_open(call, name) and keyword(call, "encoding") is None:
        return f"{name} without encoding"
    return None


def is_text_open(call: ast.Call, name: str) -> bool:
    """Say whether a call opens, reads or writes a text file."""
    method = name.rpartition(".")[2]
    if name in OTHER_OPEN or method not in ("open", "read_text", "write_text"):
        return False
    position = 1 if name == "open" else 0
    mode = keyword(call, "mode") or (call.args[position] if method == "open" and len(call.args) > position else None)
    return not (isinstance(mode, ast.Constant) and "b" in str(mode.value))


def unsafe_imports(tree: ast.AST) -> set[str]:
    """Name the modules imported that unpickle."""
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name for name in names if name.split(".")[0] in UNSAFE_MODULES}


def safe_loaders(tree: ast.AST) -> set[str]:
    """Name the loaders of a module that are YAML's safe ones: its variables for them, and classes derived from them."""
    known = set(SAFE_LOADERS)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            named = {dotted(part) for part in ast.walk(node.value) if isinstance(part, ast.expr)}
            loaders = {name for name in named if name.endswith("Loader")}
            if loaders and loaders <= known:
                known |= {
                    dotted(target) for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
                }
        elif isinstance(node, ast.ClassDef) and {dotted(base) for base in node.bases} & known:
            known.add(node.name)
    return known


def unsafe_calls(tree: ast.AST) -> list[tuple[int, str]]:
    """List line and reason of every refused call of a module."""
    loaders = safe_loaders(tree)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    found = [(call, reason) for call in calls if (reason := unsafe_reason(call))]
    is_safe_yaml = {id(call): dotted(keyword(call, "Loader") or call.func) in loaders for call, _ in found}
    return sorted((call.lineno, reason) for call, reason in found if not is_safe_yaml[id(call)])


def test_nothing_unpickles_evaluates_or_opens_a_shell() -> None:
    calls = [
        f"{module.place}:{line} {reason}" for module in package_modules() for line, reason in unsafe_calls(module.tree)
    ]
    imports = [f"{module.place} imports {name}" for module in package_modules() for name in unsafe_imports(module.tree)]
    assert not calls + imports, "\n".join(calls + imports)


def test_the_rule_sees_what_it_should() -> None:
    source = """
torch.load(p)
subprocess.run(c, shell=True)
open(p)
p.open("w")
p.read_text()
open(p, "rb"); p.open("rb"); p.read_text(encoding="utf-8"); yaml.safe_load(t); run(c, shell=False)
numpy.load(p, allow_pickle=flag)
eval(t)
AutoModel.from_pretrained(p, trust_remote_code=settings.trust)
AutoModel.from_pretrained(p, trust_remote_code=False)
yaml.load(t, Loader=yaml.Loader)
class Ours(yaml.SafeLoader): ...
yaml.load(t, Loader=Ours)
"""
    assert [line for line, _ in unsafe_calls(ast.parse(source))] == [2, 3, 4, 5, 6, 8, 9, 10, 12]
