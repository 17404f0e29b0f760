# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Where each assistant turn stands in a rendered conversation, for any chat template.

A turn reaches from the end of what a model would be prompted with to the end of its stop token. Found by comparing
renderings: of the conversation cut before and after the turn, and of the conversation with one message changed.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

from tunesmith.core.errors import TunesmithError, refusal
from tunesmith.templates.messages import Dialogue
from tunesmith.templates.sandbox import GENERATION_END, GENERATION_START

# Stands for a changed content; a noncharacter, so it occurs nowhere else.
CHANGED = "\ufdd6"
_OTHER = "\ufdd7"

Render = Callable[[Dialogue, "list[Any] | None", bool], str]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Span of an assistant turn in the text; `appended` is a stop token to add behind the text for the last turn."""

    message: int
    start: int
    end: int
    appended: str | None = None


@dataclass(frozen=True, kw_only=True)
class Located:
    """A rendered conversation and its assistant turns in order."""

    text: str
    turns: tuple[Turn, ...]


@dataclass(frozen=True, kw_only=True)
class OpenStops:
    """What ends an answer where a template writes no stop token.

    `between` are header tokens of the next turn; `final` is put behind the last answer where there is none of them.
    """

    between: tuple[str, ...] = ()
    final: str | None = None


@dataclass(frozen=True, kw_only=True)
class Closing:
    """How a template ends an assistant turn at the end of a text: the stop token, and what follows it."""

    stop: str
    tail: str


class TurnLocator:
    """Finds assistant turns of one template with one vocabulary."""

    def __init__(self, render: Render, *, controls: re.Pattern[str], stops: OpenStops, kept: Sequence[str]) -> None:
        """`controls` matches the vocabulary's added tokens; `kept` are markers that belong into answers."""
        self.render = render
        self.controls = controls
        self.kept = frozenset(kept)
        self.implicit_stops = stops.between
        self.final_stop = stops.final
        self.closing = lru_cache(maxsize=None)(self._find_closing)

    def locate(self, dialogue: Dialogue, tools: list[Any] | None) -> Located:
        """Find every assistant turn, or refuse with the turn that cannot be told from its surroundings."""
        return _Search(self, dialogue, tools).run()

    def explicit_stops(self) -> tuple[str, ...]:
        """Stop tokens that the template writes after answers, the usual one first."""
        closings = (self.closing(False, False), self.closing(True, True))
        stops = [closing.stop for closing in closings if closing is not None]
        between = self.between_turns()[0]
        return tuple(dict.fromkeys([*stops, *([between] if between else [])]))

    def implicit_stop(self) -> str | None:
        """Give the header token of the next turn that ends an answer, where the catalog knows it as a stop."""
        return self.between_turns()[1]

    def is_open_between_turns(self) -> bool:
        """Say whether neither a stop token nor a header known as one follows an answer."""
        return not self.explicit_stops() and self.implicit_stop() is None

    def stops(self) -> tuple[str, ...]:
        """Give all stop tokens of answers: those written, and headers of the next turn that are known as such."""
        final = [self.final_stop] if self.final_stop is not None else []
        return tuple(dict.fromkeys([*self.explicit_stops(), *self.implicit_stops, *final]))

    @lru_cache(maxsize=1)  # noqa: B019 (one locator lives as long as its template)
    def between_turns(self) -> tuple[str | None, str | None]:
        """Look between an answer and the next question: the stop written there, and the header known as a stop."""
        dialogue = [_user(CHANGED), _answer(_OTHER), _user(CHANGED)]
        text = self.try_render(dialogue, None, False)
        if text is None or text.count(CHANGED) != 2 or text.count(_OTHER) != 1:
            return None, None
        header, between = text[: text.index(CHANGED)], text[text.index(_OTHER) + 1 : text.rindex(CHANGED)]
        own = between[: len(between) - common_length(header[::-1], between[::-1])]
        match = self.controls.search(own)
        stop = match.group() if match and not own[: match.start()].strip() else None
        following = self.controls.match(between)
        implicit = following.group() if following and following.group() in self.implicit_stops else None
        return stop, implicit

    def try_render(self, dialogue: Dialogue, tools: list[Any] | None, is_prompt: bool) -> str | None:
        """Render without generation marks, or give None where the template refuses."""
        try:
            return without_marks(self.render(dialogue, tools, is_prompt))
        except TunesmithError as error:
            if any(problem.code != "template.conversation_refused" for problem in error.problems):
                raise
            return None

    def _find_closing(self, has_calls: bool, has_tools: bool) -> Closing | None:
        tools = [PROBE_TOOL] if has_tools else None
        called = [
            {**_answer(""), "tool_calls": [probe_call(given)]} for given in ({"a": CHANGED}, f'{{"a": "{CHANGED}"}}')
        ]
        answers = called if has_calls else [_answer(CHANGED)]
        texts = (self.try_render([_user(_OTHER), answer], tools, False) for answer in answers)
        text = next((text for text in texts if text is not None and CHANGED in text), None)
        if text is None:
            return None
        after = text[text.rindex(CHANGED) + 1 :]
        matches = [match for match in self.controls.finditer(after) if match.group() not in self.kept]
        if not has_calls:
            # Only white space may stand between an answer and its stop token.
            matches = matches[:1] if matches and not after[: matches[0].start()].strip() else []
        plain = self.closing(False, has_tools) if has_calls else None
        usual = [match for match in matches if plain is not None and match.group() == plain.stop]
        chosen = usual[0] if usual else matches[-1] if matches else None
        return Closing(stop=chosen.group(), tail=after[chosen.end() :]) if chosen else None


class _Search:
    """The search in one conversation; every rendering is made once."""

    def __init__(self, locator: TurnLocator, dialogue: Dialogue, tools: list[Any] | None) -> None:
        self._locator = locator
        self._dialogue = dialogue
        self._tools = tools
        self._marked = locator.render(dialogue, tools, False)
        self._text = without_marks(self._marked)
        self._cut = lru_cache(maxsize=None)(self._render_cut)
        self._content_start = lru_cache(maxsize=None)(self._find_content)

    def run(self) -> Located:
        answers = [index for index, message in enumerate(self._dialogue) if message["role"] == "assistant"]
        spans = _marked_spans(self._marked)
        if spans and len(spans) == len(answers):
            turns = [self._from_marks(index, *span) for index, span in zip(answers, spans, strict=True)]
        else:
            turns = [self._turn(index) for index in answers]
        for before, after in pairwise(turns):
            if before.end > after.start:
                raise self._undetermined(after.message, "it overlaps the turn before")
        return Located(text=self._text, turns=tuple(turns))

    def _turn(self, index: int) -> Turn:
        start = self._start(index)
        end = self._end(index, start)
        if end is not None:
            return Turn(message=index, start=start, end=end)
        stop = self._locator.between_turns()[0] or self._locator.implicit_stop() or self._locator.final_stop
        if stop is not None and index == len(self._dialogue) - 1:
            return Turn(message=index, start=start, end=len(self._text), appended=stop)
        if stop is None or stop != self._locator.final_stop:
            raise refusal(
                "template.stop_undetermined",
                "The chat template ends an assistant turn with no stop token of this vocabulary, so a model trained "
                "with it would never stop.",
                "Choose a template of this model's family with `template:`, or use the model's own tokenizer.",
            )
        # No token ends this earlier answer: it is trained in a sample of its own, which ends with it.
        return Turn(message=index, start=start, end=start)

    def _from_marks(self, index: int, start: int, end: int) -> Turn:
        """Take the template's own generation marks; a stop token right behind them still belongs to the turn."""
        stops = self._locator.explicit_stops()
        if not any(self._text[start:end].rstrip().endswith(stop) for stop in stops):
            match = self._locator.controls.search(self._text, end)
            if match is None or match.group() not in stops or self._text[end : match.start()].strip():
                return self._turn(index)
            end = match.end()
        return Turn(message=index, start=start, end=end)

    def _start(self, index: int) -> int:
        prompt = self._cut(index, True)
        if prompt is None or not self._text.startswith(prompt):
            return self._start_in_rewritten(index)
        start = len(prompt)
        if prompt == self._cut(index, False):
            # The template knows no generation prompt: a header would then stand between prompt and answer.
            content = self._content_start(index)
            if content is not None and self._has_header(self._text[start:content]):
                return content
        return start

    def _start_in_rewritten(self, index: int) -> int:
        """Find the turn's start where the template renders earlier turns otherwise than when they came.

        From the content of the message before on, the text follows the prompt as far as a header reaches.
        """
        content = self._content_start(index)
        if content is None:
            raise refusal(
                "template.answer_dropped",
                f"The chat template does not render the content of message {index}, an assistant turn.",
                "Choose another template: with this one the answer would never be trained.",
            )
        before = self._content_start(index - 1) if index else None
        asked = self._prompt_after_content(index)
        if before is None or asked is None:
            return content
        answered = self._text[before:content]
        if answered.startswith(asked):
            return before + len(asked)
        common = common_length(asked, answered)
        ends = [end for end in self._header_ends(asked) if end <= common]
        start = before + ends[-1] if ends else content
        is_call = bool(self._dialogue[index].get("tool_calls"))
        return content if not is_call and self._has_header(self._text[start:content]) else start

    def _prompt_after_content(self, index: int) -> str | None:
        """Give the prompt of a turn from the content of the message before on."""
        prompt = self._cut(index, True)
        if prompt is None:
            return None
        dialogue = [*self._dialogue[: index - 1], _changed(self._dialogue[index - 1])]
        other = self._locator.try_render(dialogue, self._tools, True)
        if other is None or CHANGED not in other:
            return None
        return prompt[common_length(prompt, other) :]

    def _header_ends(self, text: str) -> list[int]:
        """List the places where a header may end: around control tokens and behind white space."""
        places = {end for match in self._locator.controls.finditer(text) for end in match.span()}
        places |= {match.end() for match in re.finditer(r"\s+", text)}
        return sorted(places)

    def _end(self, index: int, start: int) -> int | None:
        is_last = index == len(self._dialogue) - 1
        text = self._text if is_last else self._cut(index + 1, False)
        if text is not None:
            end = self._closing_end(index, text, start)
            if end is not None and self._text.startswith(text[:end]):
                return end
        return None if is_last else self._end_before_next(index, start)

    def _closing_end(self, index: int, text: str, start: int) -> int | None:
        has_calls = bool(self._dialogue[index].get("tool_calls"))
        closing = self._locator.closing(has_calls, bool(self._tools))
        if closing is not None:
            end = len(text) - len(closing.tail)
            if text.endswith(closing.stop + closing.tail) and end - len(closing.stop) >= start:
                return end
        stops = self._locator.explicit_stops()
        matches = list(self._locator.controls.finditer(text, start))
        if matches and matches[-1].group() in stops and not text[matches[-1].end() :].strip():
            return matches[-1].end()
        return None

    def _end_before_next(self, index: int, start: int) -> int | None:
        """Find the stop token between a turn and the content of the next message."""
        limit = self._content_start(index + 1)
        if limit is None:
            raise self._undetermined(index, "the message after it is not rendered")
        for stops in (self._locator.explicit_stops(), self._locator.implicit_stops):
            places = [(self._text.rfind(stop, start, limit), stop) for stop in stops]
            ends = [place + len(stop) for place, stop in places if place >= 0]
            if ends:
                return max(ends)
        return None

    def _find_content(self, index: int) -> int | None:
        """Find where a message begins to matter: the first difference once its content is another."""
        changed = _changed(self._dialogue[index])
        dialogue = [*self._dialogue[:index], changed, *self._dialogue[index + 1 :]]
        other = self._locator.try_render(dialogue, self._tools, False)
        if other is None or CHANGED not in other:
            return None
        return min(common_length(self._text, other), other.index(CHANGED))

    def _render_cut(self, length: int, is_prompt: bool) -> str | None:
        if length == 0:
            return None
        return self._locator.try_render(self._dialogue[:length], self._tools, is_prompt)

    def _has_header(self, text: str) -> bool:
        return any(match.group() not in self._locator.kept for match in self._locator.controls.finditer(text))

    def _undetermined(self, index: int, reason: str) -> TunesmithError:
        return refusal(
            "template.spans_undetermined",
            f"It cannot be told which part of the rendered text message {index} is: {reason}.",
            "Choose another template, or put {% generation %} marks around the answers in this one.",
        )


def _changed(message: dict[str, Any]) -> dict[str, Any]:
    """Copy a message with another text in its first rendered part."""
    if message.get("reasoning_content"):
        return {**message, "content": CHANGED, "reasoning_content": CHANGED, "thinking": CHANGED}
    if message.get("tool_calls") and not message["content"]:
        first = message["tool_calls"][0]
        renamed = {**first, "function": {**first["function"], "name": CHANGED}}
        return {**message, "tool_calls": [renamed, *message["tool_calls"][1:]]}
    return {**message, "content": CHANGED}


def without_marks(text: str) -> str:
    """Remove the marks of generation blocks."""
    if GENERATION_START not in text:
        return text
    return text.replace(GENERATION_START, "").replace(GENERATION_END, "")


def common_length(first: str, second: str) -> int:
    """Count the characters that two texts have in common from their start."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _marked_spans(text: str) -> list[tuple[int, int]]:
    """Give the spans between generation marks, in positions of the text without them."""
    spans: list[tuple[int, int]] = []
    first, *pieces = text.split(GENERATION_START)
    length = len(first)
    for piece in pieces:
        inside, _, after = piece.partition(GENERATION_END)
        spans.append((length, length + len(inside)))
        length += len(inside) + len(after)
    return spans


def _user(content: str) -> dict[str, Any]:
    return {"role": "user", "content": content}


def _answer(content: str) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def probe_call(arguments: Any) -> dict[str, Any]:
    """Make a tool call to try a template with."""
    return {"type": "function", "id": "call00000", "function": {"name": "f", "arguments": arguments}}


PROBE_TOOL = {
    "type": "function",
    "function": {
        "name": "f",
        "description": "f",
        "parameters": {"type": "object", "properties": {"a": {"type": "string", "description": "a"}}},
    },
}
