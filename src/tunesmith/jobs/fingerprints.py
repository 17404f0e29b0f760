# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Hashes of what a run is made from, so that a resume notices a change of model, adapters, data or template."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from tunesmith.checks.context import Parts
from tunesmith.core.files import sha256_file
from tunesmith.templates.tokenizer import tokenizer_fingerprint

# Weight files beyond this size are known by their size and blocks from start to end, not by every byte.
_WHOLE_BYTES = 64 * 2**20
_BLOCKS, _BLOCK_BYTES = 64, 2**16


def run_fingerprints(parts: Parts, adapters: Iterable[Path]) -> dict[str, str]:
    """Identify data, template, tokenizer, model and the adapters that a run starts from."""
    assert parts.folder is not None and parts.tokenizer is not None and parts.data is not None
    prints = {"model": folder_fingerprint(parts.folder), "tokenizer": tokenizer_fingerprint(parts.tokenizer)}
    prints |= {f"adapter {number}": folder_fingerprint(path) for number, path in enumerate(adapters)}
    if parts.template is not None:
        prints["template"] = parts.template.fingerprint()
    if parts.data.train is not None:
        prints["training data"] = parts.data.train.fingerprint
    if parts.data.stream is not None:
        prints["training stream"] = parts.data.stream.fingerprint
    return prints | {f"evaluation data {name}": store.fingerprint for name, store in parts.data.evals.items()}


def folder_fingerprint(folder: Path) -> str:
    """Identify the configuration and weights in a folder."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*config.json"), *folder.glob("*.safetensors")]):
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
