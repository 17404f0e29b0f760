# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A rendering before it is tokenised, and the notes that go with it: what the template drops, what melts together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tunesmith.core.types import Conversation, Message
from tunesmith.templates.encoder import Encoded
from tunesmith.templates.messages import EscapedText
from tunesmith.templates.reasoning import as_generated, thoughts_of
from tunesmith.templates.samples import thoughts_dropped
from tunesmith.templates.skeleton import FoundTurns
from tunesmith.templates.turns import Located, Turn
from tunesmith.templates.weights import Answer


@dataclass(frozen=True, kw_only=True)
class Draft:
    """`messages` are those rendered, with `offset` more in front than `source` has."""

    source: Conversation
    messages: tuple[Message, ...]
    text: EscapedText
    found: FoundTurns | None
    offset: int
    is_prompt: bool

    def turns(self) -> tuple[Turn, ...]:
        """Give the assistant turns, in positions of the text with placeholders."""
        return self.found.located.turns if self.found is not None else ()

    def behind(self, prompt: str, source: str) -> FoundTurns:
        """Give the last answer as a model writes it behind a prompt of the template `source`, thoughts first."""
        assert self.found is not None, "only prompts are drafted without turns"
        located = self.found.located
        turn = located.turns[-1]
        thoughts, answer = thoughts_of(self.messages[turn.message]), located.text[turn.start : turn.end]
        text = as_generated(prompt, thoughts, answer, source)
        if text is None:
            raise thoughts_dropped(turn.message - self.offset)
        turns = (replace(turn, start=len(prompt), end=len(text)),)
        return FoundTurns(located=Located(text=text, turns=turns))

    def starts(self) -> list[int]:
        """Give where answers start in the text."""
        return [self.text.position(turn.start) for turn in self.turns()]

    def answers(self, stops: Sequence[str]) -> list[Answer]:
        """Give the spans of the assistant turns in the text."""
        return [self._answer(turn, stops) for turn in self.turns()]

    def notes(self, encoded: Encoded, *, renders_tools: bool) -> tuple[str, ...]:
        """Say what the text does not hold of the conversation."""
        melted = [number for number, place in enumerate(self.starts()) if encoded.is_inside_token(place)]
        dropped = [self.source.messages[index].role for index in self._dropped()]
        return (
            *(
                f"The template does not render message {index} ({role})."
                for index, role in zip(self._dropped(), dropped, strict=True)
            ),
            *(f"The template does not render the reasoning of message {index}." for index in self._thoughtless()),
            *(["The template does not render the tools."] if self.source.tools and not renders_tools else []),
            *(f"The start of answer {number} is one token with its header and is not trained." for number in melted),
        )

    def _answer(self, turn: Turn, stops: Sequence[str]) -> Answer:
        start, end = self.text.position(turn.start), self.text.position(turn.end)
        body = self.text.text[start:end].rstrip()
        stop = next((stop for stop in stops if body.endswith(stop)), "")
        return Answer(message=turn.message, start=start, body_end=start + len(body) - len(stop), end=end)

    def _dropped(self) -> list[int]:
        """List messages without a trace: those that the shape of the conversation tells, and unseen texts of people."""
        known = {index - self.offset for index in self.found.dropped} if self.found is not None else set()
        unseen = {
            index
            for index, message in enumerate(self.source.messages)
            if message.role in ("system", "user") and message.content.strip() not in self.text.text
        }
        return sorted(index for index in known | unseen if index >= 0)

    def _thoughtless(self) -> list[int]:
        """List answers whose thoughts are not rendered, even where their content repeats them."""
        dropped = []
        for turn in self.turns():
            message = self.source.messages[turn.message - self.offset]
            thoughts = (message.reasoning or "").strip()
            part = self.text.text[self.text.position(turn.start) : self.text.position(turn.end)]
            if thoughts and part.count(thoughts) <= message.content.count(thoughts):
                dropped.append(turn.message - self.offset)
        return dropped
