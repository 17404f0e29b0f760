# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Hashes of what a run is made from, so that a resume notices a change of model, adapters, data or template."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tunesmith.checks.context import Parts
from tunesmith.core.files import sha256_file
from tunesmith.models.folder import weights_folder
from tunesmith.models.new_rows_tuner import ROWS_FILE
from tunesmith.models.variant_file import MANIFEST_FILE
from tunesmith.templates.tokenizer import tokenizer_fingerprint

# Weight files beyond this size are known by their size and blocks from start to end, not by every byte.
_WHOLE_BYTES = 64 * 2**20
_BLOCKS, _BLOCK_BYTES = 64, 2**16


@dataclass(frozen=True, kw_only=True)
class NamedReference:
    """The reference that a user named: its folder, and the adapters merged into it."""

    folder: Path
    adapters: tuple[Path, ...]

    @property
    def words(self) -> str:
        """Say in words what the reference is."""
        merged = f" with {', '.join(map(str, self.adapters))}" if self.adapters else ""
        return f"{self.folder}{merged}, as named by the user"


def run_fingerprints(
    parts: Parts, adapters: Iterable[Path], *, reference: NamedReference | None = None
) -> dict[str, str]:
    """Identify data, template, tokenizer, model, the adapters that a run starts from, and a reference of its own."""
    assert parts.folder is not None and parts.tokenizer is not None and parts.data is not None
    prints = {"model": folder_fingerprint(parts.folder), "tokenizer": tokenizer_fingerprint(parts.tokenizer)}
    prints |= {f"adapter {number}": files_fingerprint(adapter_files(path)) for number, path in enumerate(adapters)}
    if reference is not None:
        prints["reference model"] = folder_fingerprint(reference.folder)
        for number, path in enumerate(reference.adapters):
            prints[f"reference adapter {number}"] = files_fingerprint(adapter_files(path))
    if parts.template is not None:
        prints["template"] = parts.template.fingerprint()
    if parts.data.train is not None:
        prints["training data"] = parts.data.train.fingerprint
    if parts.data.stream is not None:
        prints["training stream"] = parts.data.stream.fingerprint
    return prints | {f"evaluation data {name}": store.fingerprint for name, store in parts.data.evals.items()}


def reference_hashes(prints: Mapping[str, str], *, is_named: bool) -> dict[str, str]:
    """Pick the hashes that identify the reference: of its own files, or of what the policy starts from."""
    if is_named:
        return {name: value for name, value in prints.items() if name.startswith("reference ")}
    return {name: value for name, value in prints.items() if name == "model" or name.startswith("adapter ")}


def folder_fingerprint(folder: Path) -> str:
    """Identify the configuration and weights in a folder."""
    return files_fingerprint(model_files(folder))


def model_files(folder: Path) -> list[Path]:
    """List the configuration, weights and code of a model."""
    held = weights_folder(folder)
    return sorted([*folder.glob("*config.json"), *held.glob("*.safetensors"), *held.glob("*.py")])


def adapter_files(folder: Path) -> list[Path]:
    """List what makes an adapter; a checkpoint's folder holds more."""
    patterns = ("adapter_config.json", "adapter_model*", "value_head*", ROWS_FILE, MANIFEST_FILE)
    return sorted(path for pattern in patterns for path in folder.glob(pattern))


def files_fingerprint(paths: Iterable[Path]) -> str:
    """Identify some files by name and content."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}:{file_fingerprint(path)};".encode())
    return digest.hexdigest()


def file_fingerprint(path: Path) -> str:
    """Hash a file whole, or its size and evenly spaced blocks when it is large."""
    size = path.stat().st_size
    if size <= _WHOLE_BYTES:
        return sha256_file(path)
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as stream:
        for number in range(_BLOCKS + 1):
            stream.seek(min(size * number // _BLOCKS, size - _BLOCK_BYTES))
            digest.update(stream.read(_BLOCK_BYTES))
    return digest.hexdigest()
