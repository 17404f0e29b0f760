# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The faster tokenizer gives the ids and positions of the tokenizer's own pipeline, or no answer."""

import json
import os
import pickle
import random
import sys
from pathlib import Path

import pytest

import tunesmith.templates.encoder as encoder_module
from tunesmith.templates.byte_level import ByteEncoded, ByteLevelTokenizer, build_byte_level, is_byte_level
from tunesmith.templates.chat import load_template
from tunesmith.templates.encoder import TextEncoder
from tunesmith.templates.messages import EscapedText
from tunesmith.templates.tokenizer import load_tokenizer

pytest.importorskip("fastokens", reason="there is no build of fastokens for this machine")

_BYTE_LEVEL = ("deepseek_v3", "gpt2", "llama3_1", "qwen3", "smollm2")
_OTHERS = ("baichuan", "internlm1", "minilm_bert", "mistral_v3", "phi3_mini", "whisper_tiny")
_PIECES = [
    *[
        "é",
        "é",
        "你",
        "😀👩\u200d👩\u200d👧",
        "\u200b",
        "\x00",
        "ſ",
        "ﬁ",
        "Å",
        "Å",
        "1234",
        "don't",
        "'S",
        "½",
        "٣",
        "क्षि",
        "<|im_end|>",
        "<think>",
        "<|eot_id|>",
    ],
    *("\t", "\n", "\r\n  ", "\u3000", " ", "  ", "a", "A word", "x" * 40),
]


def _texts(assets: Path) -> list[str]:
    texts = []
    for name in ("alpaca_en", "alpaca_zh"):
        rows = json.loads((assets / "datasets" / "sft" / f"{name}.json").read_text(encoding="utf-8"))
        texts += [f"<|im_start|>user\n{row['instruction']}<|im_end|>\n{row['output']}" for row in rows[:100]]
    generator = random.Random(7)
    odd = ["".join(generator.choices(_PIECES, k=generator.randint(0, 30))) for _ in range(300)]
    return [*texts, *odd]


def _encoder(assets: Path, name: str) -> TextEncoder:
    return TextEncoder(load_tokenizer(assets / "tokenizers" / name), [])


@pytest.mark.parametrize("name", _BYTE_LEVEL)
def test_ids_and_positions_are_those_of_the_pipeline(assets: Path, name: str) -> None:
    texts, encoder = _texts(assets), _encoder(assets, name)
    assert is_byte_level(encoder._pipeline)
    fast = build_byte_level(encoder._pipeline)
    assert fast is not None
    answers = fast.encode_many(texts)
    # Where only the normal form stands in the way there is no answer; English rows all have one.
    assert all(answer is not None for answer in answers[:100])
    for text, answer in zip(texts, answers, strict=True):
        expected = encoder.encode(EscapedText(text=text))
        if answer is None:
            continue
        assert answer.ids.tolist() == expected.ids.tolist(), text
        for position in range(0, len(text) + 1, max(len(text) // 40, 1)):
            assert answer.index_at(position) == expected.index_at(position), (text, position)
            assert answer.is_inside_token(position) == expected.is_inside_token(position), (text, position)


@pytest.mark.parametrize("name", _OTHERS)
def test_other_kinds_of_tokenizers_stay_with_their_own_pipeline(assets: Path, name: str) -> None:
    pipeline = _encoder(assets, name)._pipeline
    assert not is_byte_level(pipeline) or build_byte_level(pipeline) is None


def test_many_texts_give_the_ids_of_few(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [EscapedText(text=text) for text in _texts(assets)]
    slow = [encoded.ids.tolist() for encoded in _encoder(assets, "qwen3").encode_many(texts)]
    monkeypatch.setattr(encoder_module, "_MANY_TEXTS", 1)
    encoder = _encoder(assets, "qwen3")
    encoder.encode_many(texts[:10])
    encoder.wait_for_faster()
    encoder.encode_many(texts[:10])
    encoded = encoder.encode_many(texts)
    assert [one.ids.tolist() for one in encoded] == slow
    assert any(isinstance(one, ByteEncoded) for one in encoded), "the faster library was not used"


def test_a_library_that_differs_is_not_used(
    assets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [EscapedText(text=text) for text in _texts(assets)[:20]]
    slow = [encoded.ids.tolist() for encoded in _encoder(assets, "qwen3").encode_many(texts)]
    monkeypatch.setattr(encoder_module, "_MANY_TEXTS", 1)
    right = ByteLevelTokenizer.encode_many

    def wrong(self: ByteLevelTokenizer, texts: list[str]) -> list[ByteEncoded | None]:
        return right(self, [text + "!" for text in texts])

    monkeypatch.setattr(ByteLevelTokenizer, "encode_many", wrong)
    encoder = _encoder(assets, "qwen3")
    encoder.encode_many(texts)
    encoder.wait_for_faster()
    for _ in range(2):
        assert [one.ids.tolist() for one in encoder.encode_many(texts)] == slow
    assert "is not used" in capsys.readouterr().err


def test_a_template_that_expects_much_gets_ready_at_once(assets: Path, tmp_path: Path) -> None:
    folder = assets / "tokenizers" / "gpt2"
    source = "{% for message in messages %}{{ message.content }}{{ eos_token }}{% endfor %}"
    path = tmp_path / "own.jinja"
    path.write_text(source, encoding="utf-8")
    template = load_template(load_tokenizer(folder), name=str(path), folder=folder)
    assert not template.is_getting_ready()
    template.expect(100)
    assert not template.is_getting_ready(), "few renderings are not worth it"
    template.expect(1_000_000)
    assert template.is_getting_ready()


def test_an_encoder_can_be_sent_to_another_process(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_module, "_MANY_TEXTS", 1)
    encoder, text = _encoder(assets, "gpt2"), EscapedText(text="How do you do?")
    expected = encoder.encode(text).ids.tolist()
    assert pickle.loads(pickle.dumps(encoder)).encode(text).ids.tolist() == expected  # noqa: S301 (our own bytes)


@pytest.mark.skipif(sys.platform != "linux", reason="only there are processes copied")
def test_a_copied_process_builds_its_own(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_module, "_MANY_TEXTS", 1)
    texts = [EscapedText(text="How do you do?")] * 3
    encoder = _encoder(assets, "gpt2")
    encoder.encode_many(texts)
    monkeypatch.setattr(encoder._construction, "_built", [])  # as if it was copied before it was finished
    child = os.fork()
    if not child:
        encoder.encode_many(texts)
        encoder.wait_for_faster()
        encoder.encode_many(texts)
        is_faster = all(isinstance(one, ByteEncoded) for one in encoder.encode_many(texts))
        os._exit(0 if is_faster else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
