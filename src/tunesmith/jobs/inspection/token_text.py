# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The text of each token of a row, such that the texts together are the decoded row.

A character that several tokens make up together is given with the last of them; the others are empty.
"""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

# More tokens than make up one character: a replacement character after so many stands in the text itself.
_MOST_OF_A_CHARACTER = 6
_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"


class TokenTexts:
    """Texts and special tokens of one vocabulary."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        added = [index for index, token in tokenizer.added_tokens_decoder.items() if token.special]
        self._special = frozenset([*tokenizer.all_special_ids, *added])

    def is_special(self, token: int) -> bool:
        """Say whether a token is a control token, not text."""
        return token in self._special

    def texts_of(self, ids: Sequence[int]) -> list[str]:
        """Give the text of each token."""
        texts: list[str] = []
        start = read = 0  # ids[start:read] are decoded again with the next token, because its spacing depends on them
        for end in range(1, len(ids) + 1):
            before, whole = self._decode(ids[start:read]), self._decode(ids[start:end])
            if whole.endswith(_INCOMPLETE) and end < len(ids) and end - read < _MOST_OF_A_CHARACTER:
                texts.append("")
                continue
            texts.append(whole[len(before) :])
            start, read = read, end
        return texts

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))
