# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rows by a hash of their content, to find equal ones; a record that is read twice on purpose counts once."""

import hashlib

from tunesmith.config.run import RunConfig
from tunesmith.core.types import Example, RowRef
from tunesmith.data.examples import Part, read_examples
from tunesmith.data.store import TokenRows

_DIGEST_BYTES = 16


def row_digests(store: TokenRows) -> dict[bytes, list[RowRef]]:
    """Group the records of a store by their tokens."""
    groups: dict[bytes, dict[RowRef, None]] = {}
    for index in range(len(store)):
        row = store[index]
        groups.setdefault(_digest(row.input_ids.tobytes()), {}).setdefault(row.source)
    return {digest: list(sources) for digest, sources in groups.items()}


def text_digests(config: RunConfig, part: Part, *, min_characters: float = 0) -> dict[bytes, list[RowRef]]:
    """Group the texts of a part; read anew, because tokenised texts follow one another without borders."""
    groups: dict[bytes, dict[RowRef, None]] = {}
    for item in read_examples(config, kind="text", part=part):
        if isinstance(item, Example) and len(item.text or "") >= min_characters:
            content = (item.text or "").encode("utf-8", "surrogatepass")
            groups.setdefault(_digest(content), {}).setdefault(item.source)
    return {digest: list(sources) for digest, sources in groups.items()}


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()
