# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Plain texts → token rows of at most cutoff_len tokens, each text ended by the end-of-text token.

A text that needs more than one row is continued in the next, unless `length_policy` refuses, drops or (ratio) cuts it.
Joining texts into full rows is a view over these rows (data/joined.py).
"""

from collections.abc import Iterator, Sequence

import numpy as np

from tunesmith.core.errors import refusal
from tunesmith.core.types import Example, IntArray, TokenRow
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
        for start in range(0, len(examples), BATCH_ROWS):
            batch = examples[start : start + BATCH_ROWS]
            texts = [example.text or "" for example in batch]
            encoded = self.rules.tokenizer(texts, return_attention_mask=False, verbose=False)["input_ids"]
            for example, text, ids in zip(batch, texts, encoded, strict=True):
                if text.strip():
                    yield from self._rows(example, self._ended(ids), notes)
                else:
                    notes.record(example, "dropped", "text_empty")

    def _ended(self, ids: list[int]) -> IntArray:
        return np.array(ids if ids[-1] == self._end else [*ids, self._end], dtype=np.int32)

    def _rows(self, example: Example, ids: IntArray, notes: Notes) -> Iterator[TokenRow]:
        """Give the rows of one text, and record its outcome."""
        limit, policy = self.rules.cutoff_len, self.rules.length_policy
        if len(ids) <= limit:
            notes.record(example, "kept")
        elif policy == "refuse":
            notes.too_long.append((example.source, len(ids)))
            return
        elif policy == "drop":
            notes.record(example, "dropped", "too_long")
            return
        elif policy == "ratio":
            notes.record(example, "cut", "ratio_text")
            ids = ids[:limit]
        else:
            notes.record(example, "split", "parts", parts=-(-len(ids) // limit))
        for start in range(0, len(ids), limit):
            piece = ids[start : start + limit]
            weights = np.ones(len(piece), dtype=np.float32)
            weights[0] = 0.0  # Nothing precedes the first token, so it is never a target.
            yield TokenRow(source=example.source, input_ids=piece, weights=weights, segment_lengths=(len(piece),))
