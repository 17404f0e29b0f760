# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The texts of tokens together are the row, whatever characters it has and however they are cut into tokens."""

from pathlib import Path

import pytest

from tunesmith.jobs.inspection.token_text import TokenTexts
from tunesmith.templates.tokenizer import load_tokenizer

TEXT = "Hello  world,\n\tit's 2026! 你好，世界 – 𝒳 👩‍👩‍👧 été \ufffd end"


@pytest.mark.parametrize("name", ["smollm2", "qwen3", "llama3_1", "mistral_v3", "phi3_mini", "gpt2"])
def test_texts_of_tokens_add_up_to_the_row(name: str, assets: Path) -> None:
    tokenizer = load_tokenizer(assets / "tokenizers" / name)
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    texts = TokenTexts(tokenizer).texts_of(ids)
    assert len(texts) == len(ids)
    assert "".join(texts) == tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    assert sum(text != "" for text in texts) > len(ids) / 2


def test_control_tokens_are_told_from_text(assets: Path) -> None:
    tokenizer = load_tokenizer(assets / "tokenizers" / "qwen3")
    texts = TokenTexts(tokenizer)
    ids = tokenizer("<|im_start|>user", add_special_tokens=False)["input_ids"]
    assert [texts.is_special(token) for token in ids] == [True, False]
    assert texts.texts_of(ids) == ["<|im_start|>", "user"]
