# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What a run changed about the model it loaded, on disk: new tokens and scaled positions.

It lies in the changed folder, and beside every adapter trained on it, so that the adapter is served as it was trained.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.core.errors import refusal
from tunesmith.core.files import write_text_atomic
from tunesmith.models.folder import VARIANT_FILE
from tunesmith.models.rope import RopeScaling
from tunesmith.models.token_manifest import TokenManifest

# Beside an adapter.
MANIFEST_FILE = "tunesmith_model.json"


@dataclass(frozen=True, kw_only=True)
class Changes:
    """New tokens and scaled positions; None where there are none."""

    tokens: TokenManifest | None = None
    rope: RopeScaling | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is changed."""
        return self.tokens is None and self.rope is None

    def to_json(self) -> dict[str, Any]:
        """Give what is changed as a JSON object."""
        return {
            "tokens": None if self.tokens is None else self.tokens.to_json(),
            "rope": None if self.rope is None else self.rope.to_json(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Changes":
        """Read what `to_json` gave."""
        tokens, rope = values["tokens"], values["rope"]
        return cls(
            tokens=None if tokens is None else TokenManifest.from_json(tokens),
            rope=None if rope is None else RopeScaling.from_json(rope),
        )


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A changed model: its changes, and how many embeddings its weights have."""

    changes: Changes
    num_rows: int | None


def read_variant(folder: Path) -> Variant | None:
    """Read what a run changed about the model in a folder; None where it is the model as it was published."""
    path = folder / VARIANT_FILE
    if not path.is_file():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    return Variant(changes=Changes.from_json(content["changes"]), num_rows=content["num_rows"])


def read_manifest(adapter: Path) -> Changes:
    """Read what the base model of an adapter was changed by, or refuse a file that does not say so."""
    path = adapter.expanduser() / MANIFEST_FILE
    if not path.is_file():
        return Changes()
    try:
        return Changes.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise refusal(
            "tuner.adapter_unsupported",
            f"{path} does not say how the base model was changed: {error}.",
            "Restore it from the run that made the adapter.",
            key="adapter_name_or_path",
            file=str(path),
        ) from error


def missing_changes(asked: Changes, held: Changes) -> list[str]:
    """Name what an adapter was trained with and a model does not have."""
    missing = []
    if asked.tokens is not None and (held.tokens is None or not asked.tokens.is_same_vocabulary(held.tokens)):
        missing.append(f"{len(asked.tokens.tokens)} new tokens")
    if asked.rope is not None and (held.rope is None or asked.rope.parameters != held.rope.parameters):
        missing.append(f"{asked.rope.method} positions")
    return missing


def write_manifest(changes: Changes, folder: Path) -> None:
    """Write beside an adapter how its base model was changed."""
    write_text_atomic(folder / MANIFEST_FILE, json.dumps(changes.to_json(), indent=1, ensure_ascii=False) + "\n")
