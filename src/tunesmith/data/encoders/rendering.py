# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What all encoders of conversations share: rendering in batches, the length policy, and the outcome of every row.

An encoder says which conversations a row consists of and what row their renderings make; prompts that several answers
share are cut alike.
"""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import Conversation, Example, Message, TokenRow
from tunesmith.data.cutting import Cut, PromptCutter, Renderings
from tunesmith.data.encoders.base import BATCH_ROWS, Encoder, EncodeRules, Notes
from tunesmith.data.examples import BadRow
from tunesmith.data.ledger import Outcome

Rendering = Renderings | TunesmithError


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Renderings within the limit, none where the row is lost, and its outcome with the ledger's reason."""

    renderings: Renderings = ()
    outcome: Outcome
    reason: str = ""


class RenderingEncoder(Encoder):
    """Base of encoders whose rows are rendered conversations."""

    def __init__(self, rules: EncodeRules) -> None:
        super().__init__(rules)
        self.cutter = PromptCutter(rules.tokenizer, limit=rules.cutoff_len)

    @abstractmethod
    def conversations(self, example: Example) -> tuple[Conversation, ...]:
        """Give the conversations of a row, each of which begins with its prompt."""

    @abstractmethod
    def render_all(self, conversations: Sequence[Conversation]) -> Sequence[Rendering]:
        """Render conversations, each once or in several samples."""

    @abstractmethod
    def to_rows(self, example: Example, renderings: Renderings) -> Sequence[TokenRow]:
        """Give the token rows of an example's renderings."""

    @abstractmethod
    def cut_by_ratio(self, example: Example, renderings: Renderings) -> Renderings:
        """Cut renderings as LLaMA-Factory does."""

    def prompt(self, example: Example) -> Conversation:
        """Give the conversation that is cut where it is too long."""
        return prompt_of(example)

    def fault(self, renderings: Renderings) -> str | None:
        """Give the ledger's reason why a row of these renderings, whole or cut, cannot be used."""
        return None

    def split(self, example: Example, renderings: Renderings) -> Cut:
        """Split what is too long into parts; rows of most kinds cannot be."""
        return Cut(renderings=None, reason="unsplittable")

    def encode(self, examples: Sequence[Example], notes: Notes) -> Iterator[TokenRow]:
        """Render the examples in batches and give the rows of those that can be used."""
        for start in range(0, len(examples), BATCH_ROWS):
            batch = examples[start : start + BATCH_ROWS]
            asked = [self.conversations(example) for example in batch]
            found = iter(self.render_all([conversation for each in asked for conversation in each]))
            for example, each in zip(batch, asked, strict=True):
                yield from self._encode_one(example, list(islice(found, len(each))), notes)

    def render_example(self, example: Example) -> Renderings:
        """Render the conversations of one example, or raise what is wrong with it."""
        return _joined(self.render_all(self.conversations(example)))

    def _encode_one(self, example: Example, results: Sequence[Rendering], notes: Notes) -> Sequence[TokenRow]:
        try:
            fitted = self.fit(example, _joined(results), notes)
            rows = self.to_rows(example, fitted.renderings) if fitted is not None and fitted.renderings else ()
        except TunesmithError as error:
            notes.bad_rows.append(_bad_row(example, error))
            return ()
        if fitted is None:
            return ()
        notes.record(example, fitted.outcome, fitted.reason, parts=len(rows))
        return rows

    def fit(self, example: Example, renderings: Renderings, notes: Notes) -> Fitted | None:
        """Bring renderings within the limit as `length_policy` says; None where the row is refused."""
        fault = self.fault(renderings)
        if fault is not None:
            return Fitted(outcome="dropped", reason=fault)
        longest = max(len(rendered.input_ids) for rendered in renderings)
        if longest <= self.rules.cutoff_len:
            return self.whole(example, renderings)
        if self.rules.length_policy == "refuse":
            notes.too_long.append((example.source, longest))
            return None
        if self.rules.length_policy == "drop":
            return Fitted(outcome="dropped", reason="too_long")
        return self._shorten(example, renderings)

    def whole(self, example: Example, renderings: Renderings) -> Fitted:
        """Keep renderings as they are."""
        return Fitted(renderings=renderings, outcome="kept")

    def _shorten(self, example: Example, renderings: Renderings) -> Fitted:
        if self.rules.length_policy == "ratio":
            return self._shorten_by_ratio(example, renderings)
        if self.rules.length_policy == "split":
            cut = self.split(example, renderings)
        else:
            cut = self.cutter.cut(
                self.prompt(example),
                renderings,
                lambda shorter: self.render_example(replace(example, conversation=shorter)),
            )
        if cut.renderings is None:
            return Fitted(outcome="dropped", reason=cut.reason)
        outcome: Outcome = "split" if cut.reason in ("turn_parts", "answer_parts") else "cut"
        return Fitted(renderings=cut.renderings, outcome=outcome, reason=cut.reason)

    def _shorten_by_ratio(self, example: Example, renderings: Renderings) -> Fitted:
        shorter = self.cut_by_ratio(example, renderings)
        if self.fault(shorter) is not None:
            return Fitted(outcome="dropped", reason="ratio_nothing")
        reason = "ratio_answer" if num_trained(shorter) < num_trained(renderings) else "ratio_prompt"
        return Fitted(renderings=shorter, outcome="cut", reason=reason)


def prompt_of(example: Example) -> Conversation:
    """Give the conversation of an example that has one."""
    assert example.conversation is not None, f"a row of kind {example.kind} has a conversation"
    return example.conversation


def without_training(conversation: Conversation) -> Conversation:
    """Give a conversation none of whose messages is trained."""
    messages = tuple(untrained(message) for message in conversation.messages)
    return replace(conversation, messages=messages)


def untrained(message: Message) -> Message:
    """Give a message that is not trained."""
    return replace(message, weight=0.0) if message.role == "assistant" else message


def num_trained(renderings: Renderings) -> int:
    """Count the tokens that can be targets: the first of a rendering has nothing before it."""
    return sum(int(np.count_nonzero(rendered.weights[1:])) for rendered in renderings)


def _joined(results: Sequence[Rendering]) -> Renderings:
    for result in results:
        if isinstance(result, TunesmithError):
            raise result
    return tuple(rendered for result in results if not isinstance(result, TunesmithError) for rendered in result)


def _bad_row(example: Example, error: TunesmithError) -> BadRow:
    problem = error.problems[0]
    return BadRow(source=example.source, code=problem.code, message=problem.message, remedy=problem.remedy)
