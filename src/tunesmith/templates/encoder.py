# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Text to token ids with positions, by the tokenizer's own pipeline; escaped ranges never become control tokens.

A text without escaped ranges gives exactly the ids of `tokenizer(text, add_special_tokens=False)`. Otherwise a second
pipeline is used that differs in one thing: it knows the protected tokens only under aliases, which nobody can type.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any, Protocol

import numpy as np
from tokenizers import AddedToken, Encoding, Tokenizer
from transformers import PreTrainedTokenizerBase

from tunesmith.core.errors import refusal
from tunesmith.core.progress import say
from tunesmith.core.types import IntArray
from tunesmith.templates.byte_level import ByteEncoded, ByteLevelTokenizer, Construction, is_byte_level
from tunesmith.templates.messages import EscapedText, any_of

_ALIAS = "\ufdd2"
_FIRST_INDEX = 0xF0000
# A token of its own at a place where no token may reach across; it is left out of the ids.
_BREAK = "\ufdd4"
# From so many texts on, building the faster tokenizer (about a second, beside the work) pays.
_MANY_TEXTS = 1000
# Where so many are known to come, it is built from the start.
_EXPECTED_TEXTS = 5000


class Encoded(Protocol):
    """Token ids of a text and a way from character positions to token positions."""

    @property
    def ids(self) -> IntArray:
        """Token ids."""

    def index_at(self, position: int) -> int:
        """Give the first token that starts at or after a character of the text."""

    def is_inside_token(self, position: int) -> bool:
        """Say whether one token, that is no control token, holds the characters on both sides of a position."""


@dataclass(frozen=True, kw_only=True)
class PipelineEncoded:
    """What the tokenizer's own pipeline gave.

    `encoding` is of the text with `shifts` applied, `control_ids` are added tokens in its numbering; its tokens at
    `left_out` are no part of `ids`.
    """

    ids: IntArray
    encoding: Encoding
    length: int
    control_ids: frozenset[int]
    shifts: tuple[tuple[int, int], ...] = ()
    left_out: tuple[int, ...] = ()

    def index_at(self, position: int) -> int:
        """Give the first token that starts at or after a character of the text."""
        index = self._first_from(self._shifted(position))
        return index - bisect_left(self.left_out, index)

    def is_inside_token(self, position: int) -> bool:
        """Say whether one token holds the characters on both sides of a position.

        Control tokens that take the white space around them along do not count.
        """
        index = self.encoding.char_to_token(self._shifted(position)) if position else None
        if index is None or self.encoding.ids[index] in self.control_ids:
            return False
        span = self.encoding.token_to_chars(index)
        return span is not None and span[0] < self._shifted(position)

    def _first_from(self, position: int) -> int:
        count = len(self.encoding)
        while position < self.length:
            index = self.encoding.char_to_token(position)
            if index is None:
                position += 1  # The tokenizer dropped this character.
                continue
            while index < count:
                span = self.encoding.token_to_chars(index)
                if span is not None and span[0] >= position:
                    break
                index += 1
            return index
        return count

    def _shifted(self, position: int) -> int:
        place = bisect_right(self.shifts, (position, 1 << 62)) - 1
        return position + self.shifts[place][1] if place >= 0 else position


def added_tokens(tokenizer: PreTrainedTokenizerBase) -> list[tuple[int, str, bool]]:
    """List the tokens added to a vocabulary: id, text, whether it is marked special."""
    return [(index, token.content, token.special) for index, token in sorted(tokenizer.added_tokens_decoder.items())]


class TextEncoder:
    """Encodes rendered conversations for one tokenizer, without changing it."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, protected: Sequence[str]) -> None:
        """`protected` are the added tokens that escaped text must not become."""
        if not tokenizer.is_fast:
            raise refusal(
                "template.tokenizer_slow",
                f"The tokenizer {type(tokenizer).__name__} has no tokenizer.json, so positions of tokens are unknown.",
                "Use a model folder with a tokenizer.json.",
            )
        self._tokenizer = tokenizer
        self._added: list[tuple[int, AddedToken]] = sorted(tokenizer.added_tokens_decoder.items())
        self._protected = {token: index for index, token in enumerate(protected)}
        self._protected_ids = frozenset(index for index, token in self._added if token.content in self._protected)
        self._pattern = any_of(protected)
        self._num_encoded = 0
        self._is_compared = self._is_refuted = False

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is under construction in this process."""
        return {name: value for name, value in self.__dict__.items() if name != "_construction"}

    def encode(self, text: EscapedText) -> Encoded:
        """Encode one rendering."""
        return self.encode_many([text])[0]

    def encode_many(self, texts: Sequence[EscapedText]) -> list[Encoded]:
        """Encode renderings in one call of the tokenizer."""
        ordinary = [index for index, text in enumerate(texts) if not text.plain and not text.breaks]
        encoded = self._encode_ordinary([texts[index].text for index in ordinary])
        by_index = dict(zip(ordinary, encoded, strict=True))
        return [by_index[index] if index in by_index else self._escaped(text) for index, text in enumerate(texts)]

    def _encode_ordinary(self, texts: Sequence[str]) -> list[Encoded]:
        """Encode texts without escapes, by the faster library once there are enough of them and it is built."""
        self._num_encoded += len(texts)
        faster = None if self._num_encoded < _MANY_TEXTS else self._faster()
        if faster is None:
            return self._ask_pipeline(texts)
        fast = faster.encode_many(texts)
        if not self._is_compared:
            return self._compare(texts, fast)
        rest = iter(self._ask_pipeline([text for text, one in zip(texts, fast, strict=True) if one is None]))
        return [one if one is not None else next(rest) for one in fast]

    def _faster(self) -> ByteLevelTokenizer | None:
        if self._is_refuted or self._construction is None:
            return None
        return self._construction.result()

    def expect(self, num_texts: int) -> None:
        """Begin to build the faster library when so many texts are to come that it pays."""
        if num_texts >= _EXPECTED_TEXTS and self._construction is not None:
            self._num_encoded = max(self._num_encoded, _MANY_TEXTS)

    def is_getting_ready(self) -> bool:
        """Say whether the faster library is being built."""
        return self._num_encoded >= _MANY_TEXTS and self._construction is not None and self._construction.is_under_way()

    def wait_for_faster(self) -> None:
        """Wait until the faster library can be used, where it ever can."""
        if self._construction is not None:
            self._construction.wait()

    def _compare(self, texts: Sequence[str], fast: Sequence[ByteEncoded | None]) -> list[Encoded]:
        """Let the first batch prove the faster library on the user's own texts; a difference ends its use."""
        asked = self._ask_pipeline(texts)
        if any(one is not None and one.ids.tolist() != ids.ids.tolist() for one, ids in zip(fast, asked, strict=True)):
            say("The faster tokenizer differs from the model's own on this data and is not used.")
            self._is_refuted = True
        self._is_compared = True
        return asked

    def _ask_pipeline(self, texts: Sequence[str]) -> list[Encoded]:
        encodings = self._pipeline.encode_batch(texts, add_special_tokens=False) if texts else []
        return [self._ordinary(encoding, len(text)) for encoding, text in zip(encodings, texts, strict=True)]

    def _ordinary(self, encoding: Encoding, length: int) -> PipelineEncoded:
        ids = _translated(encoding.ids, self._pipeline_changes)
        return PipelineEncoded(ids=ids, encoding=encoding, length=length, control_ids=self._pipeline_added)

    def _escaped(self, text: EscapedText) -> PipelineEncoded:
        aliased, shifts = self._with_aliases(text)
        encoding = self._alias_pipeline.encode(aliased, add_special_tokens=False)
        left_out = [index for index, token in enumerate(encoding.ids) if token == self._break_id]
        encoded = PipelineEncoded(
            ids=_translated([token for token in encoding.ids if token != self._break_id], self._alias_changes),
            encoding=encoding,
            length=len(aliased),
            control_ids=self._alias_added,
            shifts=tuple(shifts),
            left_out=tuple(left_out),
        )
        for start, end in text.plain:
            inside = encoded.ids[encoded.index_at(start) : encoded.index_at(end)]
            if self._protected_ids.intersection(inside.tolist()):
                raise refusal(
                    "template.special_text_unescapable",
                    f"The text {text.text[start:end]!r} in a message cannot be tokenised as plain text here: the "
                    "vocabulary makes the control token of it anyway.",
                    "Remove this text from the message.",
                )
        return encoded

    def _with_aliases(self, text: EscapedText) -> tuple[str, list[tuple[int, int]]]:
        """Write the template's own special tokens as aliases, and breaks; say how far positions shift behind each."""
        pieces: list[str] = []
        shifts: list[tuple[int, int]] = []
        position = shift = 0
        for start, end, alias in self._replacements(text):
            pieces += [text.text[position:start], alias]
            position = end
            shift += len(alias) - (end - start)
            shifts.append((end, shift))
        pieces.append(text.text[position:])
        return "".join(pieces), shifts

    def _replacements(self, text: EscapedText) -> list[tuple[int, int, str]]:
        """List what the alias pipeline reads in place of parts of the text: start, end, alias."""
        found = [(place, place, _BREAK) for place in text.breaks]
        position = 0
        for start, end in [*text.plain, (len(text.text), len(text.text))]:
            for match in self._pattern.finditer(text.text, position, start):
                found.append((match.start(), match.end(), self._alias(match.group())))
            position = end
        return sorted(found, key=lambda item: item[:2])

    def _alias(self, token: str) -> str:
        return _ALIAS + chr(_FIRST_INDEX + self._protected[token])

    @cached_property
    def _break_id(self) -> int:
        index = self._alias_pipeline.token_to_id(_BREAK)
        assert index is not None
        return index

    @cached_property
    def _pipeline(self) -> Tokenizer:
        # Without the post-processor, which would cut leading spaces off the positions of tokens.
        return self._build([token for _, token in self._added])

    @cached_property
    def _construction(self) -> Construction | None:
        if self._pipeline_changes or not is_byte_level(self._pipeline):
            return None
        return Construction(self._pipeline)

    @cached_property
    def _pipeline_changes(self) -> dict[int, int]:
        return self._changed_ids(self._pipeline, [token.content for _, token in self._added])

    @cached_property
    def _pipeline_added(self) -> frozenset[int]:
        return frozenset(self._pipeline.get_added_tokens_decoder())

    @cached_property
    def _alias_added(self) -> frozenset[int]:
        return frozenset(self._alias_pipeline.get_added_tokens_decoder())

    @cached_property
    def _alias_tokens(self) -> list[AddedToken]:
        return [self._aliased(token) if token.content in self._protected else token for _, token in self._added]

    @cached_property
    def _alias_pipeline(self) -> Tokenizer:
        return self._build([*self._alias_tokens, AddedToken(_BREAK, normalized=False, special=True)])

    @cached_property
    def _alias_changes(self) -> dict[int, int]:
        return self._changed_ids(self._alias_pipeline, [token.content for token in self._alias_tokens])

    def _aliased(self, token: AddedToken) -> AddedToken:
        return AddedToken(
            self._alias(token.content),
            single_word=token.single_word,
            lstrip=token.lstrip,
            rstrip=token.rstrip,
            normalized=False,
            special=True,
        )

    def _build(self, added: Sequence[AddedToken]) -> Tokenizer:
        backend = self._tokenizer.backend_tokenizer
        pipeline = Tokenizer(backend.model)
        if backend.normalizer is not None:
            pipeline.normalizer = backend.normalizer
        if backend.pre_tokenizer is not None:
            pipeline.pre_tokenizer = backend.pre_tokenizer
        for is_special, group in groupby(added, key=lambda token: token.special):
            add = pipeline.add_special_tokens if is_special else pipeline.add_tokens
            add(list(group))
        return pipeline

    def _changed_ids(self, pipeline: Tokenizer, contents: Sequence[str]) -> dict[int, int]:
        """Map ids of added tokens that a rebuilt pipeline numbers otherwise than the tokenizer."""
        pairs = zip(contents, self._added, strict=True)
        ids = ((pipeline.token_to_id(content), original) for content, (original, _) in pairs)
        return {new: original for new, original in ids if new is not None and new != original}


def _translated(ids: Sequence[int], changes: dict[int, int]) -> IntArray:
    array = np.array(ids, dtype=np.int32)
    if not changes:
        return array
    result = array.copy()
    for new in changes.keys() & set(ids):
        result[array == new] = changes[new]
    return result
