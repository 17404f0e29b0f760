# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Small sets of examples as records to be judged; every character is a token, so that texts come back whole."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from transformers import PreTrainedTokenizerBase

from tests.unit.checks.stores import KEYS
from tunesmith.checks.context import CheckContext, Parts
from tunesmith.checks.judged_rows import JudgedRows
from tunesmith.checks.judgement import Judgement, JudgementFunction
from tunesmith.config.load import load_config
from tunesmith.core.types import NO_PARENT, Conversation, Example, Message, RowRef, TokenRow
from tunesmith.data.ledger import Ledger
from tunesmith.data.pipeline import PreparedData
from tunesmith.data.store import TokenStore, build_store
from tunesmith.data.traits import compute_traits


class Characters:
    """Stands for a tokenizer whose tokens are characters."""

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return [ord(letter) for letter in text]

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        return "".join(map(chr, ids))


def source(number: int, dataset: str = "rows") -> RowRef:
    return RowRef(dataset=dataset, file=f"{dataset}.jsonl", row=number)


def answered(prompt: str, answer: str, number: int = 0, **given: Any) -> Example:
    """A question with its answer."""
    turns = (Message(role="user", content=prompt), Message(role="assistant", content=answer))
    return Example(kind="supervised", source=source(number), conversation=Conversation(messages=turns), **given)


def pair(prompt: str, chosen: str, rejected: str, number: int = 0) -> Example:
    """A question with a chosen and a rejected answer."""
    return Example(
        kind="preference",
        source=source(number),
        conversation=Conversation(messages=(Message(role="user", content=prompt),)),
        chosen=(Message(role="assistant", content=chosen),),
        rejected=((Message(role="assistant", content=rejected),),),
    )


def plain(text: str, number: int = 0) -> Example:
    """A plain text."""
    return Example(kind="text", source=source(number), text=text)


def numbered(examples: Sequence[Example]) -> list[Example]:
    """Give examples their position as row number."""
    return [replace(example, source=source(number)) for number, example in enumerate(examples)]


def store_of_examples(examples: Sequence[Example]) -> TokenStore:
    """Lay examples out as rows of characters, with their traits."""
    return replace(build_store(map(_token_row, examples)), traits=compute_traits(examples))


def _token_row(example: Example) -> TokenRow:
    messages = example.conversation.messages if example.conversation else ()
    if example.kind == "preference":
        texts = ["\n".join(one.content for one in messages) + "\n", example.chosen[0].content]
        texts.append(example.rejected[0][0].content)
        return _row(example, texts, ("prompt", "chosen", "rejected"), trained=(False, True, True))
    if example.kind in ("supervised", "feedback"):
        parts = [part for one in messages for part in (one.content, "\n")]
        trained = [part for one in messages for part in (one.role == "assistant", False)]
        row = _row(example, parts, ("text",) * len(parts), trained=trained)
        return replace(row, segment_lengths=(row.num_tokens,), segment_parents=(NO_PARENT,), segment_names=("text",))
    text = example.text or "\n".join(one.content for one in messages)
    return _row(example, [text], ("text",), trained=(example.kind == "text",))


def _row(example: Example, texts: Sequence[str], names: tuple[str, ...], *, trained: Sequence[bool]) -> TokenRow:
    lengths = tuple(map(len, texts))
    return TokenRow(
        source=example.source,
        input_ids=np.array([ord(letter) for text in texts for letter in text], dtype=np.int32),
        weights=np.repeat(np.array(trained, dtype=np.float32), lengths),
        segment_lengths=lengths,
        segment_parents=(NO_PARENT,) + (0,) * (len(texts) - 1),
        segment_names=names,
    )


def context_of_examples(examples: Sequence[Example], **keys: Any) -> CheckContext:
    """Build the context of a run over finished rows; its model folder does not exist."""
    data = PreparedData(train=store_of_examples(examples), evals={}, ledger=Ledger())
    config = load_config({**KEYS, **keys}, command="check")
    tokenizer = cast(PreTrainedTokenizerBase, Characters())
    return CheckContext(config, Parts(folder=Path("model"), tokenizer=tokenizer, data=data))


def judged(find: JudgementFunction, examples: Sequence[Example], **keys: Any) -> list[Judgement]:
    """Ask one rule about examples, which may be of a kind that no stage trains on yet."""
    context = context_of_examples(examples, **keys)
    rows = JudgedRows(store_of_examples(examples), kind=examples[0].kind, decode=Characters().decode)
    return list(find(context, rows))


def rows_of(found: Sequence[Judgement]) -> list[int]:
    """Give the rows that are named."""
    return [row for one in found for row in one.where.rows or ()]
