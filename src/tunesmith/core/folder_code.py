# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Python files of a model folder: read once, known by the hash of their bytes, run only with consent to that hash.

What is imported are the bytes that were hashed, from memory: no copy of them, no cache and no file that changed in the
meantime is ever run. Without consent nothing is imported, whatever a configuration asks for.
"""

import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tunesmith.core.errors import TunesmithError, refusal
from tunesmith.core.optional import import_by_name

KEY = "trust_remote_code"
PACKAGES = "tunesmith_folder_code_"
_CONSENT = re.compile(r"sha256:[0-9a-f]{64}")
# Folders of a run inside its output folder; each is a model with the same code.
_CHECKPOINT = re.compile(r"checkpoint-[0-9]+")
_consents: set[str] = set()
_known: dict[str, "FolderCode"] = {}  # package → what was imported as it


@dataclass(frozen=True, kw_only=True)
class FolderCode:
    """All Python files of a folder, by path inside it, and the hash of paths and bytes ("sha256:…")."""

    folder: Path
    files: Mapping[str, bytes]
    digest: str

    @property
    def is_allowed(self) -> bool:
        """Say whether the user agreed to run exactly these bytes."""
        return self.digest in _consents

    @property
    def package(self) -> str:
        """Name of the package that they are imported as."""
        return PACKAGES + self.digest.removeprefix("sha256:")

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to a worker process, where the modules can then be found as here."""
        return _arrived, (self.folder, dict(self.files), self.digest)

    def listing(self) -> str:
        """List files and sizes for a message."""
        shown = [f"{name} ({len(data):,} bytes)" for name, data in list(self.files.items())[:8]]
        return ", ".join([*shown, *([f"and {len(self.files) - 8} more"] if len(self.files) > 8 else [])])


def give_consent(value: bool | str) -> None:
    """Note the hashes that the user agreed to, for this process; true or false are no consent."""
    if isinstance(value, bool):
        return
    words = [word.strip().lower() for word in value.split(",") if word.strip()]
    wrong = [word for word in words if _CONSENT.fullmatch(word) is None]
    if wrong or not words:
        raise refusal(
            "config.value_invalid",
            f"{KEY} takes true, false, or the hash of a folder's code, not {value!r}.",
            "Write sha256: and 64 hexadecimal digits, as the refusal of the folder prints them.",
            key=KEY,
        )
    _consents.update(words)


def has_consents() -> bool:
    """Say whether the user agreed to any code."""
    return bool(_consents)


def read_code(folder: Path) -> FolderCode:
    """Read the Python files in a folder and the folders inside it, but not those of the checkpoints of a run."""
    paths = {path.relative_to(folder): path for path in folder.rglob("*.py") if path.is_file()}
    own = {inner.as_posix(): path for inner, path in paths.items() if _CHECKPOINT.fullmatch(inner.parts[0]) is None}
    files = {name: own[name].read_bytes() for name in sorted(own)}
    total = hashlib.sha256()
    for name, data in files.items():
        total.update(f"{name}\0{hashlib.sha256(data).hexdigest()}\n".encode())
    return FolderCode(folder=folder, files=files, digest=f"sha256:{total.hexdigest()}")


def allowed_class(folder: Path, auto_name: str, *, file: str = "config.json") -> Any:
    """Import the class that a configuration's auto_map names for one of transformers' Auto classes.

    None where it names none, where its code is not in the folder, or where the user did not agree to it.
    """
    reference = _reference(folder / file, auto_name)
    if reference is None or "--" in reference or not _consents:
        return None
    code = read_code(folder)
    module, _, name = reference.rpartition(".")
    if not code.is_allowed or f"{module.replace('.', '/')}.py" not in code.files:
        return None
    return _import(code, module, name)


def write_code(code: FolderCode, target: Path) -> None:
    """Write code into another folder, where it has the same hash."""
    for name, data in code.files.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def copy_allowed_code(source: Path, target: Path) -> None:
    """Give the copied files of a tokenizer the code that they name, where the user agreed to it."""
    if _consents:
        code = read_code(source)
        if code.is_allowed:
            write_code(code, target)


def imported_code() -> tuple[FolderCode, ...]:
    """Give the code that runs in this process: workers take it in before objects of its classes."""
    return tuple(_known.values())


def _arrived(folder: Path, files: Mapping[str, bytes], digest: str) -> FolderCode:
    code = FolderCode(folder=folder, files=files, digest=digest)
    _make_findable(code)
    return code


def code_of(kind: type) -> FolderCode | None:
    """Give the files that a class was imported from; None for classes of installed packages."""
    return _known.get(kind.__module__.partition(".")[0])


def _reference(path: Path, auto_name: str) -> str | None:
    if not path.is_file():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    auto_map = content.get("auto_map") if isinstance(content, dict) else None
    found = auto_map.get(auto_name) if isinstance(auto_map, dict) else None
    if isinstance(found, list):  # a tokenizer's slow and fast class
        found = next((name for name in reversed(found) if name), None)
    return found if isinstance(found, str) else None


def _import(code: FolderCode, module: str, name: str) -> Any:
    _make_findable(code)
    try:
        return vars(import_by_name(f"{code.package}.{module}"))[name]
    except KeyError as error:
        raise _broken(code, f"{module}.py has no class {name}") from error
    except ImportError as error:
        raise _broken(code, f"{module}.py cannot be imported: {error}") from error


def _make_findable(code: FolderCode) -> None:
    _known[code.package] = code
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())  # first: nothing on the path may take the name of what was hashed


def _broken(code: FolderCode, reason: str) -> TunesmithError:
    return refusal(
        "model.code_broken",
        f"The code in {code.folder}, which {KEY} allows, does not work here: {reason}.",
        "Install what it imports, or use a version of the model that transformers supports itself.",
        key=KEY,
        file=str(code.folder),
    )


class _Finder(importlib.abc.MetaPathFinder):
    """Finds modules of allowed code by name, in memory."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        package, _, inner = fullname.partition(".")
        code = _known.get(package)
        if code is None:
            return None
        place = inner.replace(".", "/")
        for name, is_package in ((f"{place}.py", False), (f"{place}/__init__.py".lstrip("/"), True)):
            if name in code.files:
                return _spec(fullname, code, name, is_package=is_package)
        prefix = f"{place}/" if place else ""
        is_folder = any(name.startswith(prefix) for name in code.files)
        return _spec(fullname, code, None, is_package=True) if is_folder else None


def _spec(fullname: str, code: FolderCode, name: str | None, *, is_package: bool) -> importlib.machinery.ModuleSpec:
    origin = None if name is None else str(code.folder / name)
    source = b"" if name is None else code.files[name]
    spec = importlib.machinery.ModuleSpec(fullname, _Source(source), origin=origin, is_package=is_package)
    spec.has_location = origin is not None  # gives modules their __file__, which transformers asks for
    return spec


class _Source(importlib.abc.InspectLoader):
    """Runs source that was read before."""

    def __init__(self, source: bytes) -> None:
        self._source = source

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self._source)
