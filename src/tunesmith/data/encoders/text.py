# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Plain texts → token rows of at most cutoff_len tokens, each text ended by the end-of-text token.

Texts either follow one another in full rows (the default of pre-training), or have rows of their own; a text that
needs more than one row is continued in the next. No token is lost either way.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from tunesmith.core.errors import refusal
from tunesmith.core.types import Example, IntArray, RowRef, TokenRow
from tunesmith.data.encoders.base import BATCH_ROWS, Encoder, EncodeRules, Notes, encoders


@encoders.register("text")
class TextEncoder(Encoder):
    """Tokenises texts as the tokenizer does by itself, with its begin token if it has one, and cuts rows."""

    def __init__(self, rules: EncodeRules) -> None:
        super().__init__(rules)
        end = rules.tokenizer.eos_token_id
        if not isinstance(end, int):
            raise refusal(
                "data.end_token_missing",
                "The tokenizer has no end-of-text token, so a model could not learn where a text ends.",
                "Set eos_token in the model folder's tokenizer_config.json.",
            )
        self._end: int = end

    def encode(self, examples: Sequence[Example], notes: Notes) -> Iterator[TokenRow]:
        """Give the rows of the texts, in order."""
        rest: list[tuple[RowRef, IntArray]] = []  # tokens that do not fill a row yet
        for example, ids in self._tokenise(examples, notes):
            if self.rules.concatenate:
                before = sum(len(part) for _, part in rest)
                rest.append((example.source, ids))
                yield from self._full_rows(rest)
                is_split = before + len(ids) > self.rules.cutoff_len
            else:
                yield from self._rows_of([(example.source, ids)])
                is_split = len(ids) > self.rules.cutoff_len
            notes.record(example, *(("split", "parts") if is_split else ("kept", "")))
        if rest:
            yield from self._rows_of(rest)

    def _tokenise(self, examples: Sequence[Example], notes: Notes) -> Iterator[tuple[Example, IntArray]]:
        for start in range(0, len(examples), BATCH_ROWS):
            batch = examples[start : start + BATCH_ROWS]
            texts = [example.text or "" for example in batch]
            encoded = self.rules.tokenizer(texts, return_attention_mask=False, verbose=False)["input_ids"]
            for example, text, ids in zip(batch, texts, encoded, strict=True):
                if text.strip():
                    yield example, self._ended(ids)
                else:
                    notes.record(example, "dropped", "text_empty")

    def _ended(self, ids: list[int]) -> IntArray:
        return np.array(ids if ids[-1] == self._end else [*ids, self._end], dtype=np.int32)

    def _full_rows(self, rest: list[tuple[RowRef, IntArray]]) -> Iterator[TokenRow]:
        """Take as many full rows as there are off the tokens that wait, and leave the others."""
        ids = np.concatenate([part for _, part in rest])
        num_full = len(ids) // self.rules.cutoff_len
        if not num_full:
            return
        whole, last = num_full * self.rules.cutoff_len, rest[-1][0]
        yield from self._rows_of([(rest[0][0], ids[: self.rules.cutoff_len])])
        yield from self._rows_of([(last, ids[self.rules.cutoff_len : whole])])
        rest[:] = [(last, ids[whole:])] if whole < len(ids) else []

    def _rows_of(self, parts: Sequence[tuple[RowRef, IntArray]]) -> Iterator[TokenRow]:
        """Cut tokens into rows; a row is named after the text that its first token is from."""
        ids = np.concatenate([part for _, part in parts])
        for start in range(0, len(ids), self.rules.cutoff_len):
            piece = ids[start : start + self.rules.cutoff_len]
            weights = np.ones(len(piece), dtype=np.float32)
            weights[0] = 0.0  # Nothing precedes the first token, so it is never a target.
            yield TokenRow(source=parts[0][0], input_ids=piece, weights=weights, segment_lengths=(len(piece),))
