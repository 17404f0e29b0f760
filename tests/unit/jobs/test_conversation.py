# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The conversation at the terminal: messages in, answers out, history kept, and Ctrl-C ends an answer only."""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tunesmith.core.errors import refusal
from tunesmith.core.types import Completion, Sampling
from tunesmith.engines.base import Advance, Engine, ignore
from tunesmith.jobs.conversation import Speaker, converse, read_message
from tunesmith.templates.base import TrainPolicy
from tunesmith.templates.chat import load_template
from tunesmith.templates.tokenizer import load_tokenizer


class ScriptedEngine(Engine):
    """Streams prepared texts; a text that ends with ^C is interrupted there."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._texts = list(texts)
        self.prompts: list[str] = []
        self.seeds: list[int] = []

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, *, advance: Advance = ignore
    ) -> list[Completion]:
        raise AssertionError("chat streams")

    def stream(self, prompt: Sequence[int], sampling: Sampling) -> Iterator[int]:
        text = str(self._tokenizer.decode(list(prompt)))
        self.prompts.append(text)
        self.seeds.append(sampling.seed)
        if "too long" in text:
            raise refusal("engine.prompt_long", "Too long.", "Clear.")
        answer = self._texts.pop(0)
        yield from self._tokenizer(answer.removesuffix("^C"))["input_ids"]
        if answer.endswith("^C"):
            raise KeyboardInterrupt

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        raise AssertionError("chat trains nothing")

    def close(self) -> None:
        self._texts.clear()


def speaker_with(assets: Path, texts: Sequence[str], *, system: str | None = None) -> tuple[Speaker, ScriptedEngine]:
    tokenizer = load_tokenizer(assets / "tokenizers" / "smollm2")
    template = load_template(tokenizer)
    engine = ScriptedEngine(tokenizer, texts)
    speaker = Speaker(
        engine=engine,
        tokenizer=tokenizer,
        template=template,
        policy=TrainPolicy(default_system=system),
        sampling_for=lambda length, number: Sampling(max_new_tokens=9, stop_ids=template.stop_ids(), seed=number),
    )
    return speaker, engine


def talk(speaker: Speaker, text: str) -> str:
    output = io.StringIO()
    converse(speaker, io.StringIO(text), output)
    return output.getvalue()


def test_answers_are_written_and_remembered(assets: Path) -> None:
    speaker, engine = speaker_with(assets, ["Hello you!<|im_end|>", "Four.<|im_end|>"], system="Be brief.")
    assert talk(speaker, "Hi\nWhat is 2+2?\nexit\nnever read\n") == "Hello you!\nFour.\n"
    assert engine.prompts[1] == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
        "Hello you!<|im_end|>\n<|im_start|>user\nWhat is 2+2?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert engine.seeds == [0, 1]


def test_clear_forgets_the_conversation(assets: Path) -> None:
    speaker, engine = speaker_with(assets, ["One.<|im_end|>", "Two.<|im_end|>"])
    talk(speaker, "first\nclear\nsecond\n")
    assert "first" not in engine.prompts[1] and "second" in engine.prompts[1]


def test_an_interrupt_ends_the_answer_and_not_the_program(assets: Path) -> None:
    speaker, engine = speaker_with(assets, ["This would go on^C", "Bye.<|im_end|>"])
    assert talk(speaker, "Hi\nEnough\n") == "This would go on [stopped]\nBye.\n"
    assert "This would go on<|im_end|>" in engine.prompts[1]


def test_a_refusal_leaves_the_conversation_as_it_was(assets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    speaker, engine = speaker_with(assets, ["Yes.<|im_end|>"])
    assert talk(speaker, "too long\nHi\n") == "\nYes.\n"
    assert "engine.prompt_long" in capsys.readouterr().err
    assert "too long" not in engine.prompts[1]


def test_characters_of_several_tokens_are_written_whole(assets: Path) -> None:
    speaker, _ = speaker_with(assets, ["你好 🙂!<|im_end|>"])
    pieces = list(speaker.answer("Hi"))
    assert "".join(pieces) == "你好 🙂!"
    assert not any("\ufffd" in piece for piece in pieces) and len(pieces) > 3


def test_typed_control_tokens_are_no_control_tokens(assets: Path) -> None:
    speaker, engine = speaker_with(assets, ["No.<|im_end|>"])
    lengths: list[int] = []
    speaker.sampling_for = lambda length, number: (
        lengths.append(length) or Sampling(max_new_tokens=9, stop_ids=(2,))  # type: ignore[func-returns-value]
    )
    talk(speaker, "<|im_end|>\n")
    stops = speaker.tokenizer(engine.prompts[0])["input_ids"]
    assert lengths[0] > len(stops)


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("one\ntwo\n", ["one", "two"]),
        ("one\\\ntwo\n", ["one\ntwo"]),
        ('"""\na\n\nb\\\n"""\nnext\n', ["a\n\nb\\", "next"]),
        ('"""\nunfinished', ["unfinished"]),
        ("last\\", ["last"]),
        ("windows\r\n", ["windows"]),
    ],
)
def test_messages_of_several_lines(text: str, messages: list[str]) -> None:
    source = io.StringIO(text)
    assert list(iter(lambda: read_message(source), None)) == messages
