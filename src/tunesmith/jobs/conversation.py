# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A conversation at the terminal: reads messages, streams answers, keeps the history; knows no configuration."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, TextIO, cast

from transformers import PreTrainedTokenizerBase

from tunesmith.core.errors import TunesmithError
from tunesmith.core.optional import has_package, import_by_name
from tunesmith.core.progress import say
from tunesmith.core.types import Conversation, Message, Sampling
from tunesmith.engines.base import Engine
from tunesmith.templates.base import ChatTemplate, TrainPolicy

BLOCK_MARK = '"""'
_CONTINUED = "\\"
# Decoding gives this sign for a character of which some bytes are still to come.
_INCOMPLETE = "\ufffd"

# Number of prompt tokens and number of the answer → settings.
SamplingFor = Callable[[int, int], Sampling]


@dataclass(kw_only=True)
class Speaker:
    """Answers messages and remembers them."""

    engine: Engine
    tokenizer: PreTrainedTokenizerBase
    template: ChatTemplate
    policy: TrainPolicy
    sampling_for: SamplingFor
    skip_special_tokens: bool = True
    history: list[Message] = field(default_factory=list)
    num_answers: int = 0

    def answer(self, text: str) -> Iterator[str]:
        """Stream the answer to a message; what was said when the stream is closed early stays in the history."""
        asked = Message(role="user", content=text)
        conversation = Conversation(messages=(*self.history, asked))
        prompt = self.template.render(conversation, add_generation_prompt=True, policy=self.policy).input_ids.tolist()
        sampling = self.sampling_for(len(prompt), self.num_answers)
        self.num_answers += 1
        said: list[int] = []
        shown = ""
        tokens = cast("Any", self.engine.stream(prompt, sampling))
        try:
            with closing(tokens):
                for token in tokens:
                    said.append(token)
                    whole = self._text(said, sampling.stop_ids)
                    if not whole.endswith(_INCOMPLETE):
                        yield whole[len(shown) :]
                        shown = whole
            yield self._text(said, sampling.stop_ids)[len(shown) :]
        finally:
            if said:
                self.history += [asked, self.template.parse(said)]

    def clear(self) -> None:
        """Forget the conversation."""
        self.history.clear()

    def _text(self, said: Sequence[int], stop_ids: Sequence[int]) -> str:
        ids = said[:-1] if said and said[-1] in stop_ids else said
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=self.skip_special_tokens))


def converse(speaker: Speaker, source: TextIO, output: TextIO) -> int:
    """Talk until `exit` or the end of input; give the number of messages answered."""
    is_terminal = source.isatty()
    if is_terminal and has_package("readline"):
        import_by_name("readline")  # gives input() line editing and history where the system has it
    answered = 0
    interrupted = False
    while True:
        try:
            message = read_message(source, is_terminal=is_terminal)
        except KeyboardInterrupt:
            if interrupted:
                return answered
            interrupted = True
            say("\nType exit (or press Ctrl-C once more) to leave.")
            continue
        interrupted = False
        if message is None or message.strip() == "exit":
            return answered
        if message.strip() == "clear":
            speaker.clear()
            say("The conversation is forgotten.")
        elif message.strip():
            answered += _answer_aloud(speaker, message, output, prefix="Assistant: " if is_terminal else "")


def read_message(source: TextIO, *, is_terminal: bool = False) -> str | None:
    """Read one message, or None at the end of input.

    A line that ends with a backslash goes on; lines between two lines of three double quotes are one message.
    """
    lines: list[str] = []
    in_block = False
    while True:
        line = _read_line(source, is_terminal, is_first=not lines and not in_block)
        if line is None:
            return "\n".join(lines) if lines else None
        if line.strip() == BLOCK_MARK:
            if in_block:
                return "\n".join(lines)
            in_block = True
        elif not in_block and line.endswith(_CONTINUED):
            lines.append(line[: -len(_CONTINUED)])
        else:
            lines.append(line)
            if not in_block:
                return "\n".join(lines)


def _read_line(source: TextIO, is_terminal: bool, *, is_first: bool) -> str | None:
    if not is_terminal:
        line = source.readline()
        return line.rstrip("\r\n") if line else None
    try:
        return input("\nUser: " if is_first else "... ")
    except EOFError:
        return None


def _answer_aloud(speaker: Speaker, message: str, output: TextIO, *, prefix: str) -> bool:
    """Write an answer as it comes; Ctrl-C ends the answer only, a refusal leaves the conversation as it was."""
    pieces = cast("Any", speaker.answer(message))
    print(prefix, end="", file=output, flush=True)
    try:
        with closing(pieces):
            for piece in pieces:
                print(piece, end="", file=output, flush=True)
    except KeyboardInterrupt:
        print(" [stopped]", file=output, flush=True)
        return True
    except TunesmithError as error:
        print(file=output, flush=True)
        for problem in error.problems:
            say(f"{problem.code}: {problem.message} {problem.remedy}")
        return False
    print(file=output, flush=True)
    return True
