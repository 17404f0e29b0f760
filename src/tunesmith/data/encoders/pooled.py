# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Texts that are read as a whole, for a class, a score or a vector → one token row each; no token is trained.

A labelled row is one segment with its label. A row of texts to bring near or keep apart has a root segment for each.
Texts are rendered by the template, as a user's turn where they are no conversation, or without one end with the
end-of-text token.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tunesmith.core.errors import TunesmithError, refusal
from tunesmith.core.types import NO_PARENT, Conversation, Example, Message, Rendered, TokenRow
from tunesmith.data.cutting import Renderings
from tunesmith.data.encoders.base import Notes, encoders
from tunesmith.data.encoders.rendering import Fitted, Rendering, RenderingEncoder
from tunesmith.data.ratio import cut_answers


class PooledEncoder(RenderingEncoder):
    """Base of encoders whose rows are texts without trained tokens."""

    def render_all(self, conversations: Sequence[Conversation]) -> Sequence[Rendering]:
        """Render each text once, its weights aside."""
        if self.rules.template is None:
            return [(self._plain(conversation),) for conversation in conversations]
        results = self.rules.template.render_many(conversations, policy=self.rules.policy)
        return [result if isinstance(result, TunesmithError) else (_unweighted(result),) for result in results]

    def _plain(self, conversation: Conversation) -> Rendered:
        text = "\n".join(message.content for message in conversation.messages)
        ids: list[int] = self.rules.tokenizer(text, return_attention_mask=False, verbose=False)["input_ids"]
        end = self.rules.tokenizer.eos_token_id
        if isinstance(end, int) and ids[-1:] != [end]:
            ids = [*ids, end]
        return Rendered(
            text=text, input_ids=np.array(ids, dtype=np.int32), weights=np.zeros(len(ids), dtype=np.float32)
        )

    def fault(self, renderings: Renderings) -> str | None:
        """Refuse rows with a text that has no token."""
        return None if all(len(rendered.input_ids) for rendered in renderings) else "text_empty"

    def cut_by_ratio(self, example: Example, renderings: Renderings) -> Renderings:
        """Keep the head of the text."""
        return cut_answers(renderings, len(renderings[0].input_ids), self.rules.cutoff_len)

    def to_rows(self, example: Example, renderings: Renderings) -> Sequence[TokenRow]:
        """Give one row with a segment for each text."""
        return [
            TokenRow(
                source=example.source,
                input_ids=np.concatenate([rendered.input_ids for rendered in renderings]),
                weights=np.concatenate([rendered.weights for rendered in renderings]),
                segment_lengths=tuple(len(rendered.input_ids) for rendered in renderings),
                segment_parents=(NO_PARENT,) * len(renderings),
                segment_names=self.segment_names(example),
                label=self.label(example),
            )
        ]

    @abstractmethod
    def segment_names(self, example: Example) -> tuple[str, ...]:
        """Name the segments."""

    @abstractmethod
    def label(self, example: Example) -> float | None:
        """Give the row's label as a number."""


@encoders.register("labelled")
class LabelledEncoder(PooledEncoder):
    """A text or a conversation with a number, or with the number of its class in `EncodeRules.classes`."""

    def prompt(self, example: Example) -> Conversation:
        """Give the conversation, or the text as a user's turn."""
        return example.conversation or _as_turn(example.text or "")

    def conversations(self, example: Example) -> tuple[Conversation, ...]:
        """Give the conversation."""
        return (self.prompt(example),)

    def segment_names(self, example: Example) -> tuple[str, ...]:
        """Name the text."""
        return ("text",)

    def label(self, example: Example) -> float | None:
        """Give the number, or that of the class."""
        label = example.label
        if isinstance(label, str) and label in self.rules.classes:
            return float(self.rules.classes.index(label))
        try:
            return float(label if label is not None else "")
        except ValueError:
            raise _unknown_class(label, self.rules.classes) from None


@encoders.register("contrast")
class ContrastEncoder(PooledEncoder):
    """An anchor with texts to bring near and to keep apart; each text is brought within the limit by itself."""

    def conversations(self, example: Example) -> tuple[Conversation, ...]:
        """Give the anchor and all other texts."""
        others = [*example.positives, *example.negatives]
        return (self.prompt(example), *(_as_text(messages) for messages in others))

    def fit(self, example: Example, renderings: Renderings, notes: Notes) -> Fitted | None:
        """Bring each text within the limit; a row of which one text is lost is lost."""
        fitted: list[Fitted] = []
        for conversation, rendered in zip(self.conversations(example), renderings, strict=True):
            alone = replace(example, conversation=conversation, positives=(), negatives=())
            one = super().fit(alone, (rendered,), notes)
            if one is None or not one.renderings:
                return one
            fitted.append(one)
        changed = next((one for one in fitted if one.outcome != "kept"), fitted[0])
        return replace(changed, renderings=tuple(each for one in fitted for each in one.renderings))

    def segment_names(self, example: Example) -> tuple[str, ...]:
        """Name the anchor and its near and far texts."""
        return ("anchor", *("positive",) * len(example.positives), *("negative",) * len(example.negatives))

    def label(self, example: Example) -> float | None:
        """Give the similarity, where the source has one."""
        return None if example.label is None else float(example.label)


def _as_turn(text: str) -> Conversation:
    return Conversation(messages=(Message(role="user", content=text),))


def _as_text(messages: Sequence[Message]) -> Conversation:
    """Give a lone message as a user's turn, since templates expect no lone answer."""
    if len(messages) == 1:
        return _as_turn(messages[0].content)
    return Conversation(messages=tuple(messages))


def _unweighted(rendered: Rendered) -> Rendered:
    return replace(rendered, weights=np.zeros(len(rendered.input_ids), dtype=np.float32))


def _unknown_class(label: object, classes: Sequence[str]) -> TunesmithError:
    known = ", ".join(classes) or "none"
    return refusal(
        "data.class_unknown",
        f"The label {label!r} is neither a number nor one of the classes: {known}.",
        "Give labels as numbers, or correct the name.",
    )
