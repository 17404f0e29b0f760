# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The one chat template there is: Jinja text with a vocabulary; knows nothing of where the text came from."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from tunesmith.core.errors import TunesmithError, refusal
from tunesmith.core.files import write_text_atomic
from tunesmith.core.types import Conversation, FloatArray, Message, Rendered
from tunesmith.templates.base import ChatTemplate, Origin, TrainPolicy
from tunesmith.templates.encoder import Encoded, TextEncoder, added_tokens
from tunesmith.templates.messages import CallStyle, Dialogue, EscapedText, Escaper, to_dialogue, to_tools
from tunesmith.templates.parsing import parse_answer
from tunesmith.templates.sandbox import CompiledTemplate
from tunesmith.templates.skeleton import FoundTurns, TurnFinder
from tunesmith.templates.turns import CHANGED, PROBE_TOOL, TurnLocator, probe_call, without_marks

TEMPLATE_FILE = "chat_template.jinja"
FACTS_FILE = "tunesmith_template.json"
# Templates that print today's date get this one, so that a row gives the same tokens on any day.
FIXED_DATE = datetime(2025, 1, 1)


@dataclass(frozen=True, kw_only=True)
class TemplateFacts:
    """What goes with a template's text: its name, the date it prints, its variables and known stop tokens.

    `kept_in_answers` are special tokens that stay tokens in assistant content; `implicit_stops` are headers of the next
    turn that end an answer where the template writes no stop. With `split_answers` no token reaches across the start of
    an answer, so that training continues exactly the prompt that is served; without it ids are always those of
    `apply_chat_template`.
    """

    name: str
    origin: Origin
    date: datetime = FIXED_DATE
    variables: Mapping[str, Any] = field(default_factory=dict)
    kept_in_answers: tuple[str, ...] = ()
    implicit_stops: tuple[str, ...] = ()
    split_answers: bool = False


@dataclass(frozen=True, kw_only=True)
class _Draft:
    """A rendering before it is tokenised."""

    conversation: Conversation
    text: EscapedText
    found: FoundTurns | None
    offset: int
    is_prompt: bool

    def starts(self) -> list[int]:
        """Give where answers start in the text."""
        return [self.text.position(turn.start) for turn in self.found.located.turns] if self.found else []


class JinjaTemplate(ChatTemplate):
    """A chat template as the model's makers write them."""

    def __init__(self, source: str, tokenizer: PreTrainedTokenizerBase, facts: TemplateFacts) -> None:
        self.source = source
        self.name = facts.name
        self.origin = facts.origin
        self.facts = facts
        self._tokenizer = tokenizer
        self._variables = {**tokenizer.special_tokens_map, **facts.variables}
        self._compiled = CompiledTemplate(source, facts.date)
        added = added_tokens(tokenizer)
        self._added_ids = {content: index for index, content, _ in added}
        self._locator = TurnLocator(
            self._render_dialogue,
            controls=_any_of([*self._added_ids]),
            implicit_stops=facts.implicit_stops,
            kept=facts.kept_in_answers,
        )
        self.finder = TurnFinder(self._locator)
        # Tokens that a person's text must not become: those marked special, and those that frame plain turns.
        frame = set(self._locator.controls.findall(self.sample())) - set(facts.kept_in_answers)
        protected = [content for _, content, is_special in added if is_special or content in frame]
        self._encoder = TextEncoder(tokenizer, protected)
        self._escaper = Escaper(protected, facts.kept_in_answers)

    def __reduce__(self) -> tuple[type["JinjaTemplate"], tuple[str, PreTrainedTokenizerBase, TemplateFacts]]:
        """Pickle as what it was built from: compiled templates cannot be sent to other processes."""
        return JinjaTemplate, (self.source, self._tokenizer, self.facts)

    def render(
        self,
        conversation: Conversation,
        *,
        add_generation_prompt: bool = False,
        policy: TrainPolicy | None = None,
    ) -> Rendered:
        rules = policy or TrainPolicy()
        draft = self._draft(conversation, rules, add_generation_prompt)
        return self._finish(*self._split(draft, self._encoder.encode(draft.text)), rules)

    def render_many(
        self,
        conversations: Sequence[Conversation],
        *,
        add_generation_prompt: bool = False,
        policy: TrainPolicy | None = None,
    ) -> list[Rendered | TunesmithError]:
        rules = policy or TrainPolicy()
        results: list[Rendered | TunesmithError | None] = [None] * len(conversations)
        drafts: list[tuple[int, _Draft]] = []
        for index, conversation in enumerate(conversations):
            try:
                drafts.append((index, self._draft(conversation, rules, add_generation_prompt)))
            except TunesmithError as error:
                results[index] = error
        for index, draft, encoded in self._encode_drafts(drafts, results):
            results[index] = self._finish(*self._split(draft, encoded), rules)
        return [result for result in results if result is not None]

    def render_raw(self, messages: Dialogue, tools: list[Any] | None, **variables: Any) -> str:
        """Render dictionaries to text exactly as `apply_chat_template(tokenize=False)` does, nothing escaped."""
        aliased = [_with_thinking(message) for message in messages]
        values = {"add_generation_prompt": False, **self._variables, **variables}
        return without_marks(self._compiled.render({**values, "messages": aliased, "tools": tools, "documents": None}))

    def parse(self, token_ids: Sequence[int]) -> Message:
        ids = list(token_ids)
        stops = set(self.stop_ids())
        if ids and ids[-1] in stops:
            ids.pop()
        message = parse_answer(self.decode(ids))
        lead, tail = self._frame
        content = message.content.removeprefix(lead).removesuffix(tail) if lead or tail else message.content
        return replace(message, content=content)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Give the text of ids, control tokens and all."""
        text = self._tokenizer.decode(list(token_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text

    def stop_ids(self) -> tuple[int, ...]:
        return self._stop_ids

    def save(self, folder: Path) -> None:
        facts = {**asdict(self.facts), "date": self.facts.date.isoformat(), "fingerprint": self.fingerprint()}
        write_text_atomic(folder / TEMPLATE_FILE, self.source)
        write_text_atomic(folder / FACTS_FILE, json.dumps(facts, indent=1, ensure_ascii=False, sort_keys=True) + "\n")

    def fingerprint(self) -> str:
        facts = asdict(self.facts)
        del facts["name"], facts["origin"]
        deciding = [self.source, {**facts, "date": self.facts.date.isoformat()}, self._variables]
        return hashlib.sha256(json.dumps(deciding, ensure_ascii=False, sort_keys=True).encode()).hexdigest()

    def sample(self) -> str:
        system, user = {"role": "system", "content": ""}, {"role": "user", "content": ""}
        for opening in ([system, user], [user]):
            dialogue = [*opening, {"role": "assistant", "content": ""}, user]
            text = self._locator.try_render(dialogue, None, True)
            if text is not None:
                return text
        return ""

    @cached_property
    def _stop_ids(self) -> tuple[int, ...]:
        names = list(self._locator.explicit_stops())
        implicit = self._locator.implicit_stop()
        if implicit is not None:
            names += [implicit, *(name for name in self.facts.implicit_stops if name in self._added_ids)]
        ids = [self._added_ids[name] for name in names]
        eos = self._tokenizer.eos_token_id
        return tuple(dict.fromkeys([*ids, *([eos] if isinstance(eos, int) else [])]))

    @cached_property
    def _frame(self) -> tuple[str, str]:
        """White space that the template itself writes around an answer's content."""
        dialogue = [{"role": "user", "content": "?"}, {"role": "assistant", "content": CHANGED}]
        try:
            located = self._locator.locate(dialogue, None)
        except TunesmithError:
            return "", ""
        turn = located.turns[0]
        before, _, after = located.text[turn.start : turn.end].partition(CHANGED)
        tail = self._locator.controls.split(after)[0]
        return (before if not before.strip() else ""), (tail if not tail.strip() else "")

    @cached_property
    def _content_is_typed(self) -> bool:
        """Find by trying whether the template wants contents as lists of typed blocks."""
        system = {"role": "system", "content": CHANGED}
        user = {"role": "user", "content": CHANGED}
        for dialogue in ([system, user], [user]):
            for is_typed in (False, True):
                if self._try_contents(dialogue, is_typed):
                    return is_typed
        return False

    @cached_property
    def _call_style(self) -> CallStyle | None:
        """Find by trying how the template wants turns that only call tools; None when it does not render calls."""
        for empty, tools in product(("", None), (None, [PROBE_TOOL])):
            for arguments in ({"a": CHANGED}, f'{{"a": "{CHANGED}"}}'):
                answer = {"role": "assistant", "content": empty, "tool_calls": [probe_call(arguments)]}
                text = self._locator.try_render([{"role": "user", "content": "?"}, answer], tools, False)
                if text is not None and CHANGED in text and f"{{'a': '{CHANGED}'}}" not in text:
                    return CallStyle(empty_content=empty, takes_objects=isinstance(arguments, dict))
        return None

    def _try_contents(self, dialogue: Dialogue, is_typed: bool) -> bool:
        messages = [_typed(message) for message in dialogue] if is_typed else dialogue
        try:
            text = self._compiled.render({**self._variables, **_inputs(messages, None, True)})
        except TunesmithError:
            return False
        return text.count(CHANGED) == len(dialogue)

    def _render_dialogue(self, dialogue: Dialogue, tools: list[Any] | None, is_prompt: bool) -> str:
        messages = [_typed(message) for message in dialogue] if self._content_is_typed else dialogue
        return self._compiled.render({**self._variables, **_inputs(messages, tools, is_prompt)})

    def _draft(self, conversation: Conversation, policy: TrainPolicy, is_prompt: bool) -> _Draft:
        dialogue = to_dialogue(
            conversation, self._escaper, default_system=policy.default_system, call_style=self._style_for(conversation)
        )
        tools = to_tools(conversation, self._escaper)
        needs_turns = not is_prompt or (self.facts.split_answers and any(m["role"] == "assistant" for m in dialogue))
        found = self.finder.find(dialogue, tools) if needs_turns else None
        prompt = without_marks(self._render_dialogue(dialogue, tools, True)) if is_prompt else None
        return _Draft(
            conversation=conversation,
            text=self._escaper.reveal(prompt if prompt is not None else found.located.text if found else ""),
            found=found,
            offset=len(dialogue) - len(conversation.messages),
            is_prompt=is_prompt,
        )

    def _style_for(self, conversation: Conversation) -> CallStyle:
        if not any(message.tool_calls for message in conversation.messages):
            return CallStyle()
        if self._call_style is None:
            raise refusal(
                "template.answer_dropped",
                "The chat template does not render tool calls, so a turn that calls a tool would be trained empty.",
                "Choose a template that knows tools, or write the calls into the content.",
            )
        return self._call_style

    def _encode_drafts(
        self, drafts: list[tuple[int, _Draft]], results: list[Rendered | TunesmithError | None]
    ) -> list[tuple[int, _Draft, Encoded]]:
        try:
            encoded = self._encoder.encode_many([draft.text for _, draft in drafts])
            return [(index, draft, item) for (index, draft), item in zip(drafts, encoded, strict=True)]
        except TunesmithError:
            done = []
            for index, draft in drafts:
                try:
                    done.append((index, draft, self._encoder.encode(draft.text)))
                except TunesmithError as error:
                    results[index] = error
            return done

    def _split(self, draft: _Draft, encoded: Encoded) -> tuple[_Draft, Encoded]:
        """Encode once more with breaks where a token reaches from a header into an answer."""
        if not self.facts.split_answers:
            return draft, encoded
        breaks = tuple(place for place in draft.starts() if encoded.is_inside_token(place))
        if not breaks:
            return draft, encoded
        split = replace(draft, text=replace(draft.text, breaks=breaks))
        return split, self._encoder.encode(split.text)

    def _finish(self, draft: _Draft, encoded: Encoded, policy: TrainPolicy) -> Rendered:
        ids = encoded.ids
        if draft.is_prompt or draft.found is None:
            return Rendered(text=draft.text.text, input_ids=ids, weights=np.zeros(len(ids), dtype=np.float32))
        turns = draft.found.located.turns
        weights = np.full(len(ids), 1.0 if policy.train_on_prompt else 0.0, dtype=np.float32)
        text = draft.text.text
        for number, turn in enumerate(turns):
            own = draft.conversation.messages[turn.message - draft.offset].weight
            weight = own if own is not None else 0.0 if policy.mask_history and number < len(turns) - 1 else 1.0
            start, end = (encoded.index_at(draft.text.position(place)) for place in (turn.start, turn.end))
            weights[start:end] = weight
            if turn.appended is not None:
                ids, weights = self._append(ids, weights, turn.appended, weight)
                text += turn.appended
        return Rendered(text=text, input_ids=ids, weights=weights, notes=_notes(draft, encoded))

    def _append(
        self, ids: np.ndarray[Any, np.dtype[np.int32]], weights: FloatArray, stop: str, weight: float
    ) -> tuple[np.ndarray[Any, np.dtype[np.int32]], FloatArray]:
        stop_id = self._added_ids[stop]
        return np.append(ids, np.int32(stop_id)), np.append(weights, np.float32(weight))


def _notes(draft: _Draft, encoded: Encoded) -> tuple[str, ...]:
    assert draft.found is not None
    messages = draft.conversation.messages
    dropped = [index - draft.offset for index in draft.found.dropped if index >= draft.offset]
    melted = [number for number, place in enumerate(draft.starts()) if encoded.is_inside_token(place)]
    return (
        *(f"The template does not render message {index} ({messages[index].role})." for index in dropped),
        *(f"The start of answer {number} is one token with its header and is not trained." for number in melted),
    )


def _inputs(messages: Dialogue, tools: list[Any] | None, is_prompt: bool) -> dict[str, Any]:
    return {"messages": messages, "tools": tools, "documents": None, "add_generation_prompt": is_prompt}


def _typed(message: Mapping[str, Any]) -> dict[str, Any]:
    content = message["content"]
    return {**message, "content": [{"type": "text", "text": content}]} if isinstance(content, str) else dict(message)


def _with_thinking(message: Mapping[str, Any]) -> dict[str, Any]:
    reasoning = message.get("reasoning_content")
    return {"thinking": reasoning, **message} if reasoning is not None else dict(message)


def _any_of(tokens: Sequence[str]) -> re.Pattern[str]:
    longest_first = sorted((token for token in tokens if token.strip()), key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
