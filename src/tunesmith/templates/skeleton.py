# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The fast way to assistant turns: conversations of one shape share the text around their contents.

The turns of a shape are located once, with slots in place of contents. A conversation takes them over only when its own
rendering equals the shape's with the slots filled; otherwise it is searched by itself (turns.py).
"""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tunesmith.core.errors import refusal
from tunesmith.templates.messages import Dialogue
from tunesmith.templates.turns import Located, Turn, TurnLocator, common_length, without_marks

_SLOT = "\ufdd5"
_FIRST_INDEX = 0xF0000
_SLOTS = re.compile(f"{_SLOT}([\U000f0000-\U000ffffd])")
_MAX_SHAPES = 512


@dataclass(frozen=True, kw_only=True)
class _Anchor:
    """A place in a skeleton: an offset in one of its literals."""

    literal: int
    offset: int


@dataclass(frozen=True, kw_only=True)
class _Skeleton:
    """Literals with slots between them, the turns, and the messages that the template does not render."""

    literals: tuple[str, ...]
    slots: tuple[int, ...]
    turns: tuple[tuple[Turn, _Anchor, _Anchor], ...]
    dropped: tuple[int, ...]

    def fill(self, text: str, values: list[str]) -> Located | None:
        """Locate the turns of a text that is this skeleton filled with values (as they are, or trimmed)."""
        starts: list[int] = []
        position = 0
        for number, literal in enumerate(self.literals):
            if not text.startswith(literal, position):
                return None
            starts.append(position)
            position += len(literal)
            if number < len(self.slots):
                length = _slot_length(text, position, values[self.slots[number]])
                if length is None:
                    return None
                position += length
        if position != len(text):
            return None
        turns = tuple(
            Turn(
                message=turn.message,
                start=starts[start.literal] + start.offset,
                end=starts[end.literal] + end.offset,
                appended=turn.appended,
            )
            for turn, start, end in self.turns
        )
        return Located(text=text, turns=turns)


@dataclass(frozen=True, kw_only=True)
class FoundTurns:
    """Located turns, and the messages that the template left out as far as the shape tells."""

    located: Located
    dropped: tuple[int, ...] = ()


class TurnFinder:
    """Finds assistant turns, by shape where that is proven right, else by search."""

    def __init__(self, locator: TurnLocator) -> None:
        self._locator = locator
        self._skeletons: dict[str, _Skeleton | None] = {}

    def find(self, dialogue: Dialogue, tools: list[Any] | None) -> FoundTurns:
        """Render a conversation and find its assistant turns."""
        shape = _shape(dialogue, tools) if not self._is_opened(dialogue) else None
        skeleton = self._skeleton(shape, dialogue, tools) if shape is not None else None
        if skeleton is not None:
            text = without_marks(self._locator.render(dialogue, tools, False))
            located = skeleton.fill(text, _values(dialogue))
            if located is not None:
                return FoundTurns(located=located, dropped=skeleton.dropped)
        return FoundTurns(located=self.search(dialogue, tools))

    def search(self, dialogue: Dialogue, tools: list[Any] | None) -> Located:
        """Find the turns of a conversation by itself, without its shape."""
        return self._locator.locate(dialogue, tools)

    def _is_opened(self, dialogue: Dialogue) -> bool:
        """Say whether an answer repeats what its prompt has written already: then it starts behind that."""
        opening = self._opening
        return bool(opening) and any(
            message["role"] == "assistant" and (message["content"] or "").lstrip().startswith(opening)
            for message in dialogue
        )

    @cached_property
    def _opening(self) -> str:
        """What prompts write behind the header and rendered answers lack, e.g. the mark that opens thoughts."""
        asked = [{"role": "user", "content": "?"}]
        prompt = self._locator.try_render(asked, None, True)
        answered = self._locator.try_render([*asked, {"role": "assistant", "content": _SLOT}], None, False)
        return prompt[common_length(prompt, answered) :].strip() if prompt is not None and answered is not None else ""

    def _skeleton(self, shape: str, dialogue: Dialogue, tools: list[Any] | None) -> _Skeleton | None:
        if shape not in self._skeletons:
            if len(self._skeletons) >= _MAX_SHAPES:
                self._skeletons.pop(next(iter(self._skeletons)))
            self._skeletons[shape] = _learn(self._locator, dialogue, tools)
        return self._skeletons[shape]


def _learn(locator: TurnLocator, dialogue: Dialogue, tools: list[Any] | None) -> _Skeleton | None:
    with_slots = _with_slots(dialogue)
    if locator.try_render(with_slots, tools, False) is None:
        return None
    located = locator.locate(with_slots, tools)
    slots = [(match.start(), ord(match[1]) - _FIRST_INDEX) for match in _SLOTS.finditer(located.text)]
    literals = _SLOTS.sub(_SLOT, located.text).split(_SLOT)
    starts = [0, *(start + 2 for start, _ in slots)]
    names = _slot_names(dialogue)
    rendered = {names[slot][0] for _, slot in slots if names[slot][1] == "content"}
    dropped = [index for index, key in names if key == "content" and index not in rendered]
    for index in dropped:
        if dialogue[index]["role"] == "assistant":
            raise refusal(
                "template.answer_dropped",
                f"The chat template does not render the content of message {index}, an assistant turn.",
                "Choose another template: with this one the answer would never be trained.",
            )
    turns = [(turn, _anchor(starts, turn.start), _anchor(starts, turn.end)) for turn in located.turns]
    if any(anchor.offset > len(literals[anchor.literal]) for _, *anchors in turns for anchor in anchors):
        return None
    return _Skeleton(
        literals=tuple(literals), slots=tuple(slot for _, slot in slots), turns=tuple(turns), dropped=tuple(dropped)
    )


def _anchor(starts: list[int], position: int) -> _Anchor:
    literal = max(index for index, start in enumerate(starts) if start <= position)
    return _Anchor(literal=literal, offset=position - starts[literal])


def _slot_length(text: str, position: int, value: str) -> int | None:
    if text.startswith(value, position):
        return len(value)
    trimmed = value.strip()
    return len(trimmed) if text.startswith(trimmed, position) else None


def _shape(dialogue: Dialogue, tools: list[Any] | None) -> str | None:
    """Name everything but the contents; None where contents stand in structures (tool calls) or are white space."""
    parts: list[Any] = []
    for message in dialogue:
        if "tool_calls" in message:
            return None
        texts = [message["content"], message.get("reasoning_content", "")]
        if any(text and not text.strip() for text in texts):
            return None
        parts.append([message["role"], message.get("name"), message.get("tool_call_id")])
        parts.append([bool(message["content"]), "reasoning_content" in message, bool(texts[1])])
    return json.dumps([parts, tools], ensure_ascii=False)


def _slot_names(dialogue: Dialogue) -> list[tuple[int, str]]:
    """List the slots of a conversation: message and key of every text that is not empty."""
    keys = ("content", "reasoning_content")
    return [(index, key) for index, message in enumerate(dialogue) for key in keys if message.get(key)]


def _values(dialogue: Dialogue) -> list[str]:
    return [dialogue[index][key] for index, key in _slot_names(dialogue)]


def _with_slots(dialogue: Dialogue) -> Dialogue:
    copies = [dict(message) for message in dialogue]
    for number, (index, key) in enumerate(_slot_names(dialogue)):
        copies[index][key] = _SLOT + chr(_FIRST_INDEX + number)
        if key == "reasoning_content":
            copies[index]["thinking"] = copies[index][key]
    return copies
