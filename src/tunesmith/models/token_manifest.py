# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The list of tokens that a run added: names, ids, kinds, the vocabulary they were added to, how their rows start.

It travels with an adapter, so that the same tokens are added wherever the adapter is loaded.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tunesmith.config.sections.vocabulary import Start


@dataclass(frozen=True, kw_only=True)
class NewToken:
    """A token that was added; special ones are left out of decoded answers."""

    content: str
    id: int
    special: bool


@dataclass(frozen=True, kw_only=True)
class TokenManifest:
    """Tokens with ids one after another; `descriptions` give token ids whose mean a row starts from."""

    tokens: tuple[NewToken, ...]
    base_size: int
    base_digest: str
    start: Start
    seed: int
    descriptions: Mapping[str, tuple[int, ...]]

    @property
    def first(self) -> int:
        """Id of the first new token."""
        return self.tokens[0].id

    @property
    def end(self) -> int:
        """Id behind the last new token."""
        return self.tokens[-1].id + 1

    @property
    def ids(self) -> Mapping[str, int]:
        """Ids by name."""
        return {token.content: token.id for token in self.tokens}

    def is_same_vocabulary(self, other: "TokenManifest") -> bool:
        """Say whether two lists add the same tokens to the same vocabulary, however their rows start."""
        return self.tokens == other.tokens and self.base_digest == other.base_digest

    def to_json(self) -> dict[str, Any]:
        """Give the fields as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TokenManifest":
        """Read what `to_json` gave; KeyError, TypeError or ValueError where it is something else."""
        tokens = tuple(NewToken(**token) for token in values["tokens"])
        if not tokens or [token.id for token in tokens] != list(range(tokens[0].id, tokens[0].id + len(tokens))):
            raise ValueError("its tokens have no ids one after another")
        descriptions = {name: tuple(map(int, ids)) for name, ids in values["descriptions"].items()}
        return cls(**{**values, "tokens": tokens, "descriptions": descriptions})


def vocabulary_digest(vocabulary: Mapping[str, int]) -> str:
    """Identify a vocabulary by its tokens and ids."""
    listed = json.dumps(sorted(vocabulary.items(), key=lambda entry: (entry[1], entry[0])), ensure_ascii=False)
    return hashlib.sha256(listed.encode("utf-8", "surrogatepass")).hexdigest()
