# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The contract of an encoder: examples of one kind → token rows, with every example's outcome in the notes.

A row never depends on other rows: an encoder may be given any part of the examples, in any process.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from transformers import PreTrainedTokenizerBase

from tunesmith.core.registry import Registry
from tunesmith.core.types import Example, RowRef, TokenRow
from tunesmith.data.examples import BadRow
from tunesmith.data.ledger import Outcome
from tunesmith.templates.base import ChatTemplate, TrainPolicy

LengthPolicy = Literal["refuse", "drop", "truncate_prompt", "split", "ratio"]

BATCH_ROWS = 256


@dataclass(frozen=True, kw_only=True)
class EncodeRules:
    """What encoding depends on besides the examples.

    `classes` are the names of the classes of labelled rows, in the order of their numbers.
    """

    tokenizer: PreTrainedTokenizerBase
    template: ChatTemplate | None
    policy: TrainPolicy
    cutoff_len: int
    length_policy: LengthPolicy
    classes: tuple[str, ...] = ()


class RowOutcome(NamedTuple):
    """What became of one example: `parts` token rows, none when it is dropped."""

    row: RowRef
    outcome: Outcome
    reason: str
    parts: int


@dataclass(kw_only=True)
class Notes:
    """What became of the examples that an encoder was given; plain data that travels between processes.

    `outcomes` are those of rows that were used or dropped, `bad_rows` could not be rendered, `too_long` are refused by
    `length_policy: refuse`, with their lengths. Every example ends in exactly one of the three.
    """

    outcomes: list[RowOutcome] = field(default_factory=list)
    bad_rows: list[BadRow] = field(default_factory=list)
    too_long: list[tuple[RowRef, int]] = field(default_factory=list)

    def record(self, example: Example, outcome: Outcome, reason: str = "", parts: int = 1) -> None:
        """Write down the outcome of an example and how many token rows it became."""
        self.outcomes.append(RowOutcome(example.source, outcome, reason, 0 if outcome == "dropped" else parts))


class Encoder(ABC):
    """Turns examples of one kind into token rows. Register with the row kind: `@encoders.register("supervised")`."""

    def __init__(self, rules: EncodeRules) -> None:
        self.rules = rules

    def expect(self, num_examples: int) -> None:
        """Get ready for many examples, beside other work."""
        if self.rules.template is not None:
            self.rules.template.expect(num_examples)

    def is_getting_ready(self) -> bool:
        """Say whether that is still going on."""
        return self.rules.template is not None and self.rules.template.is_getting_ready()

    @abstractmethod
    def encode(self, examples: Sequence[Example], notes: Notes) -> Iterator[TokenRow]:
        """Give the token rows of the examples, in order; every example ends in the notes."""


encoders: Registry[type[Encoder]] = Registry("row kind", "tunesmith.data.encoders", code="data.kind_unsupported")
