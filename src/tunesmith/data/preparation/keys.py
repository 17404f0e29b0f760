# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Names of shards: a hash of everything that decides on what is in them, this program's own code included."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from typing import Any

from transformers import PreTrainedTokenizerBase

from tunesmith.core.types import RowKind
from tunesmith.data.blocks import Block
from tunesmith.data.encoders.base import EncodeRules
from tunesmith.data.preparation.shards import SHARD_VERSION
from tunesmith.data.recognition import Reading
from tunesmith.templates.base import ChatTemplate
from tunesmith.templates.tokenizer import tokenizer_fingerprint

_LIBRARIES = ("tokenizers", "transformers", "pyarrow")
_CODE = ("tunesmith.core", "tunesmith.templates", "tunesmith.data")
_SUFFIXES = (".py", ".jinja", ".yaml")


def rules_key(rules: EncodeRules, kind: RowKind, plugins: tuple[str, ...] = ()) -> str:
    """Hash what is the same for all blocks of a preparation."""
    parts: dict[str, Any] = {item.name: getattr(rules, item.name) for item in fields(rules)}
    facts = {
        "version": SHARD_VERSION,
        "code": code_fingerprint(),
        "libraries": [metadata.version(name) for name in _LIBRARIES],
        "kind": kind,
        "plugins": plugins,
        "rules": {name: _identity(value) for name, value in sorted(parts.items())},
    }
    return _hash(facts)


def block_key(block: Block, reading: Reading, rules: str) -> str:
    """Name the shard of a block; file and data set have no part in it, so that a file can be moved."""
    span = block.span
    how = {name: value for name, value in asdict(reading).items() if name != "decision"}
    chosen = None if block.chosen is None else hashlib.sha256(repr(block.chosen).encode()).hexdigest()
    return _hash([rules, how, span.digest, span.start.row, span.start.line, span.num_rows, chosen])


@cache
def code_fingerprint() -> str:
    """Hash the code that reads, renders and tokenises, so that another version never finds this one's shards."""
    digest = hashlib.sha256()
    for package in _CODE:
        _add_folder(digest, resources.files(package))
    return digest.hexdigest()


def _add_folder(digest: Any, folder: Traversable) -> None:
    for item in sorted(folder.iterdir(), key=lambda found: found.name):
        if item.is_dir() and item.name != "__pycache__":
            _add_folder(digest, item)
        elif item.name.endswith(_SUFFIXES):
            digest.update(item.name.encode())
            digest.update(item.read_bytes())


def _identity(value: Any) -> Any:
    if isinstance(value, PreTrainedTokenizerBase):
        return [tokenizer_fingerprint(value), value.eos_token_id, value.bos_token_id]
    if isinstance(value, ChatTemplate):
        return value.fingerprint()
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _hash(facts: Any) -> str:
    text = json.dumps(facts, sort_keys=True, ensure_ascii=False, default=_to_json)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _to_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return repr(value)
