# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What is seen of a data set before its format is known: some rows, the names described, the kind of the stage."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tunesmith.core.types import RowKind

# Names that are recognised, best first.
NAMES: Mapping[str, tuple[str, ...]] = {
    "messages": ("messages", "conversations", "conversation"),
    "prompt": ("instruction", "prompt", "query", "question", "problem", "input"),
    "response": ("output", "response", "answer", "completion", "solution", "target", "targets", "ground_truth"),
    "system": ("system", "system_prompt"),
    "images": ("images", "image"),
    "videos": ("videos", "video"),
    "audios": ("audios", "audio"),
    "chosen": ("chosen", "chosen_response"),
    "rejected": ("rejected", "rejected_response"),
    "kto_tag": ("kto_tag", "label", "is_correct"),
    "text": ("text", "sentence", "content"),
    "label": ("label", "labels", "class", "category"),
    "reference_answer": ("solution", "ground_truth", "reference_answer", "answer"),
    "anchor": ("anchor", "query", "sentence1", "text1"),
    "positive": ("positive", "positives", "pos", "sentence2", "text2"),
    "negative": ("negative", "negatives", "neg", "negative_1"),
    "similarity": ("similarity", "score", "similarity_score", "label"),
}
# The column that only some stages look for.
_STAGE_KEYS: Mapping[RowKind, str] = {
    "feedback": "kto_tag",
    "labelled": "label",
    "contrast": "similarity",
    "prompt": "reference_answer",
}
_CHINESE = re.compile("[\u3400-\u9fff]")
_CHINESE_SHARE = 0.3


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A format, the columns and tags that were recognised, and by what."""

    format: str
    reason: str
    names: Mapping[str, str | None] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    ranking: bool = False


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What is seen of a data set: some rows, the names that its description gives, and the kind the stage needs."""

    sample: Sequence[Mapping[str, Any]]
    given: Mapping[str, str | None]
    tags: Mapping[str, str]
    ranking: bool
    kind: RowKind | None

    @cached_property
    def present(self) -> tuple[str, ...]:
        """All columns of the sample, in order."""
        return tuple(dict.fromkeys(name for row in self.sample for name in row))

    @property
    def stage_keys(self) -> tuple[str, ...]:
        """The keys that only this kind of stage looks for."""
        return (_STAGE_KEYS[self.kind],) if self.kind is not None and self.kind in _STAGE_KEYS else ()

    def name(self, key: str) -> str | None:
        """Give the column of a key: as described, or the first usual name that is there."""
        if key in self.given:
            return self.given[key]
        return next((name for name in NAMES[key] if name in self.present), None)

    def named(self, *keys: str) -> dict[str, str | None]:
        """Give key → column for the keys that have one."""
        return {key: name for key in keys if (name := self.name(key)) is not None}

    def values(self, name: str | None) -> Iterator[Any]:
        """Give the values of a column that are not null; lists written as JSON text are lists."""
        for row in self.sample:
            value = row.get(name) if name is not None else None
            if value is not None:
                yield _parsed(value)

    def holds_lists(self, name: str | None, of: type) -> bool:
        """Say whether a column holds lists with elements of a type."""
        return any(isinstance(value, list) and value and isinstance(value[0], of) for value in self.values(name))

    def is_chinese(self, name: str) -> bool:
        """Say whether the texts of a column are Chinese."""
        text = "".join(value[:200] for value in self.values(name) if isinstance(value, str))
        return len(_CHINESE.findall(text)) > _CHINESE_SHARE * len(text)

    def extras(self) -> dict[str, str | None]:
        """Give the columns beside a conversation: system prompt, media, and what the stage looks for."""
        keys = ["system", "images", "videos", "audios"]
        return self.named(*keys, *self.stage_keys)


def _parsed(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except (json.JSONDecodeError, RecursionError):
            return value
    return value
