# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The one chat template there is: Jinja text with a vocabulary; knows nothing of where the text came from."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from tunesmith.core.errors import TunesmithError, refusal
from tunesmith.core.files import write_text_atomic
from tunesmith.core.types import Conversation, Message, Rendered, Role
from tunesmith.templates.base import ChatTemplate, TrainPolicy
from tunesmith.templates.drafts import Draft
from tunesmith.templates.encoder import Encoded, TextEncoder, added_tokens
from tunesmith.templates.facts import FACTS_FILE, FIXED_DATE, TEMPLATE_FILE, TemplateFacts
from tunesmith.templates.habits import Habits, typed
from tunesmith.templates.messages import CallStyle, Dialogue, EscapedText, Escaper, any_of, hide_all, to_dialogue
from tunesmith.templates.parsing import parse_answer
from tunesmith.templates.reasoning import apply_reasoning
from tunesmith.templates.samples import Sample, apart, dropped_thoughts, plan_samples, to_conversation
from tunesmith.templates.sandbox import CompiledTemplate
from tunesmith.templates.skeleton import FoundTurns, TurnFinder
from tunesmith.templates.tokenizer import tokens_of_the_run
from tunesmith.templates.tool_text import write_calls, write_tools
from tunesmith.templates.tools.base import ToolFormat, WritingFormat, tool_formats, types_of
from tunesmith.templates.turns import OpenStops, TurnLocator, without_marks
from tunesmith.templates.weights import token_weights, turn_weights

__all__ = ["FACTS_FILE", "FIXED_DATE", "TEMPLATE_FILE", "JinjaTemplate", "TemplateFacts"]


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
            controls=any_of([*self._added_ids]),
            stops=OpenStops(between=facts.implicit_stops, final=facts.final_stop),
            kept=facts.kept_in_answers,
        )
        self.habits = Habits(source, self._render_plain, self._locator)
        self.finder = TurnFinder(self._locator)
        # Tokens that a person's text must not become: those marked special, but not by the run, and those of turns.
        frame = set(self._locator.controls.findall(self.sample())) - set(facts.kept_in_answers)
        guarded = frame | {content for _, content, is_special in added if is_special} - tokens_of_the_run(tokenizer)
        protected = [content for _, content, _ in added if content in guarded]
        self._encoder = TextEncoder(tokenizer, protected)
        self._escaper = Escaper(protected, facts.kept_in_answers, facts.special_text)

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
        drafts: list[tuple[int, Draft]] = []
        for index, conversation in enumerate(conversations):
            try:
                drafts.append((index, self._draft(conversation, rules, add_generation_prompt)))
            except TunesmithError as error:
                results[index] = error
        for index, draft, encoded in self._encode_drafts(drafts, results):
            results[index] = self._finish(*self._split(draft, encoded), rules)
        return [result for result in results if result is not None]

    def render_samples(
        self, conversations: Sequence[Conversation], *, policy: TrainPolicy
    ) -> list[tuple[Rendered, ...] | TunesmithError]:
        """Render for training: several samples a conversation under `keep`, and where no token ends earlier turns."""
        if policy.reasoning != "keep" and not self._is_open_between_turns:
            return super().render_samples(conversations, policy=policy)
        results: list[tuple[Rendered, ...] | TunesmithError] = []
        for conversation in conversations:
            try:
                parts = self._cut_into_samples(conversation, policy)
                results.append(tuple(rendered for part in parts for rendered in self._render_part(part, policy)))
            except TunesmithError as error:
                results.append(error)
        return results

    def _render_part(self, conversation: Conversation, policy: TrainPolicy) -> list[Rendered]:
        rendered = self.render(conversation, policy=policy)
        dropped = dropped_thoughts(rendered, conversation) if policy.reasoning == "keep" else []
        if not dropped:
            return [rendered]
        return [
            self._render_generated(part, policy) if is_written else self.render(part, policy=policy)
            for part, is_written in apart(conversation, dropped)
        ]

    def _render_generated(self, conversation: Conversation, policy: TrainPolicy) -> Rendered:
        """Render with the last answer as the model writes it behind its prompt, thoughts first."""
        form, _ = self._rendered_form(conversation, policy)
        asked = to_dialogue(form.messages[:-1], self._style_for(form))
        prompt = without_marks(self._render_dialogue(asked, list(form.tools) or None, True))
        draft = self._draft(conversation, policy, False)
        found = draft.behind(prompt, self.source)
        written = replace(draft, found=found, text=self._escaper.reveal(found.located.text))
        return self._finish(*self._split(written, self._encoder.encode(written.text)), policy)

    def expect(self, num_renderings: int) -> None:
        self._encoder.expect(num_renderings)

    def is_getting_ready(self) -> bool:
        return self._encoder.is_getting_ready()

    def render_raw(self, messages: Dialogue, tools: list[Any] | None, **variables: Any) -> str:
        """Render dictionaries to text exactly as `apply_chat_template(tokenize=False)` does, nothing escaped."""
        aliased = [_with_thinking(message) for message in messages]
        values = {"add_generation_prompt": False, **self._variables, **variables}
        return without_marks(self._compiled.render({**values, "messages": aliased, "tools": tools, "documents": None}))

    def as_messages(
        self, conversation: Conversation, policy: TrainPolicy | None = None
    ) -> tuple[Dialogue, list[Any] | None]:
        """Give what `apply_chat_template` must be called with to write the same text."""
        form, _ = self._rendered_form(conversation, policy or TrainPolicy())
        dialogue = to_dialogue(form.messages, self._style_for(form))
        return [typed(message) for message in dialogue] if self.habits.content_is_typed else dialogue, list(
            form.tools
        ) or None

    def answer_spans(self, conversation: Conversation, policy: TrainPolicy) -> list[tuple[int, int, int]]:
        """Give where the assistant turns stand in a rendering's ids: message, start, end with the stop token."""
        draft = self._draft(conversation, policy, False)
        draft, encoded = self._split(draft, self._encoder.encode(draft.text))
        return [
            (
                turn.message - draft.offset,
                encoded.index_at(draft.text.position(turn.start)),
                encoded.index_at(draft.text.position(turn.end)) + (turn.appended is not None),
            )
            for turn in draft.turns()
        ]

    def render_dicts(self, messages: Dialogue, tools: list[Any] | None, *, is_prompt: bool = False) -> Rendered:
        """Render dictionaries as they are, nothing escaped or adapted; where turns cannot be told, none is trained."""
        text = EscapedText(text=self.render_raw(messages, tools, add_generation_prompt=is_prompt))
        found, reason = None, ""
        if not is_prompt:
            try:
                found = FoundTurns(located=self.finder.search([_with_thinking(m) for m in messages], tools))
            except TunesmithError as error:
                reason = error.problems[0].message
        encoded = self._encoder.encode(text)
        if found is None or found.located.text != text.text:
            zeros = np.zeros(len(encoded.ids), dtype=np.float32)
            return Rendered(text=text.text, input_ids=encoded.ids, weights=zeros, notes=(reason,) if reason else ())
        plain = tuple(Message(role=m["role"], content=str(m.get("content") or "")) for m in messages)
        conversation = Conversation(messages=plain, tools=tuple(tools or ()))
        draft = Draft(source=conversation, messages=plain, text=text, found=found, offset=0, is_prompt=False)
        return self._finish(draft, encoded, TrainPolicy())

    def parse(self, token_ids: Sequence[int], *, tools: Sequence[Mapping[str, Any]] = ()) -> Message:
        ids = list(token_ids)
        stops = set(self.stop_ids())
        if ids and ids[-1] in stops:
            ids.pop()
        message = parse_answer(self.decode(ids), self._tool_format, types_of(tools))
        lead, tail = self.habits.frame
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
        digest = hashlib.sha256(self.source.encode()).hexdigest()
        marks = {"date": self.facts.date.isoformat(), "fingerprint": self.fingerprint(), "source_sha256": digest}
        facts = {**asdict(self.facts), **marks}
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
    def _is_open_between_turns(self) -> bool:
        return self.facts.final_stop is not None and self._locator.is_open_between_turns()

    @cached_property
    def _stop_ids(self) -> tuple[int, ...]:
        names = list(self._locator.explicit_stops())
        implicit = self._locator.implicit_stop()
        if implicit is not None:
            names += [implicit, *self.facts.implicit_stops]
        names += [*([self.facts.final_stop] if self.facts.final_stop else []), *self.facts.stops]
        ids = [self._added_ids[name] for name in names if name in self._added_ids]
        eos = self._tokenizer.eos_token_id
        return tuple(dict.fromkeys([*ids, *([eos] if isinstance(eos, int) else [])]))

    @cached_property
    def _writing_format(self) -> WritingFormat | None:
        """How tools are written into texts, or None where the template writes them itself."""
        name = self.facts.tool_format
        knows_tools = self.habits.call_style is not None and self.habits.renders_tools
        if name is None or (knows_tools and not self.facts.is_tool_format_forced):
            return None
        written_as = tool_formats.get(name)()
        if not isinstance(written_as, WritingFormat):
            raise refusal(
                "template.tool_format_unwritable",
                f"The tool format {name!r} is only read: no template without tools of its own is written in it.",
                "Choose the model's own template, or another `tool_format`.",
                key="tool_format",
            )
        return written_as

    @cached_property
    def _tool_format(self) -> ToolFormat | None:
        return self._writing_format or self.habits.tool_format

    def _render_plain(self, messages: Dialogue, tools: list[Any] | None, is_prompt: bool) -> str:
        inputs = {"messages": messages, "tools": tools, "documents": None, "add_generation_prompt": is_prompt}
        return self._compiled.render({**self._variables, **inputs})

    def _render_dialogue(self, dialogue: Dialogue, tools: list[Any] | None, is_prompt: bool) -> str:
        messages = [typed(message) for message in dialogue] if self.habits.content_is_typed else dialogue
        return self._render_plain(messages, tools, is_prompt)

    def _rendered_form(self, conversation: Conversation, policy: TrainPolicy) -> tuple[Conversation, int]:
        """Give the conversation as it is rendered, and how many messages were put in front."""
        form = apply_reasoning(conversation, policy)
        has_system = bool(form.messages) and form.messages[0].role == "system"
        if policy.default_system and form.messages and not has_system:
            system = Message(role="system", content=policy.default_system)
            form = replace(form, messages=(system, *form.messages))
        form = self._with_written_tools(hide_all(form, self._escaper))
        return form, len(form.messages) - len(conversation.messages)

    def _with_written_tools(self, form: Conversation) -> Conversation:
        """Write tools into the texts where the template does not."""
        if not form.tools and not any(message.tool_calls or message.role == "tool" for message in form.messages):
            return form
        if self._writing_format is not None:
            return write_tools(form, self._writing_format, has_tool_role=self.habits.has_tool_role)
        described = self.habits.tool_format if self.habits.call_style is None else None
        return write_calls(form, described) if isinstance(described, WritingFormat) else form

    def _draft(self, conversation: Conversation, policy: TrainPolicy, is_prompt: bool) -> Draft:
        form, offset = self._rendered_form(conversation, policy)
        dialogue, tools = to_dialogue(form.messages, self._style_for(form)), list(form.tools) or None
        needs_turns = not is_prompt or (self.facts.split_answers and any(m["role"] == "assistant" for m in dialogue))
        try:
            found = self.finder.find(dialogue, tools) if needs_turns else None
            prompt = without_marks(self._render_dialogue(dialogue, tools, True)) if is_prompt else None
        except TunesmithError as error:
            raise self._explained(error, form.messages[0].role) from error
        text = self._escaper.reveal(prompt if prompt is not None else found.located.text if found else "")
        return Draft(
            source=conversation, messages=form.messages, text=text, found=found, offset=offset, is_prompt=is_prompt
        )

    def _explained(self, error: TunesmithError, first_role: Role) -> TunesmithError:
        """Say that it is the system message which a template refuses, where it is."""
        problem = error.problems[0]
        if problem.code != "template.conversation_refused" or first_role != "system" or not self.habits.refuses_system:
            return error
        return refusal(
            problem.code,
            f"{problem.message.rstrip('.')}. This template takes no system message.",
            "Leave out the system messages and `default_system`, or choose another template with `template:`.",
        )

    def _cut_into_samples(self, conversation: Conversation, policy: TrainPolicy) -> list[Conversation]:
        form, offset = self._rendered_form(conversation, policy)
        dialogue, tools = to_dialogue(form.messages, self._style_for(form)), list(form.tools) or None
        answers = [index for index, message in enumerate(form.messages) if message.role == "assistant"]
        weights = dict(zip(answers, turn_weights(form.messages, answers, policy), strict=True))

        def render(index: int) -> tuple[str, int]:
            located = self.finder.find(dialogue[: index + 1], tools).located
            last = located.turns[-1]
            return located.text + (last.appended or ""), last.end + len(last.appended or "")

        trained = [index for index in answers if weights[index]]
        if not trained:
            return [conversation]
        if self._is_open_between_turns:
            samples = [Sample(end=index + 1, answers=(index,)) for index in trained]
        else:
            samples = plan_samples(trained, len(form.messages), render)
        return [to_conversation(conversation, sample, offset, weights) for sample in samples]

    def _style_for(self, conversation: Conversation) -> CallStyle:
        if not any(message.tool_calls for message in conversation.messages):
            return CallStyle()
        style = self.habits.call_style
        if style is None:
            raise refusal(
                "template.answer_dropped",
                "The chat template does not render tool calls, so a turn that calls a tool would be trained empty.",
                "Set `tool_format` to write tools into the text, choose a template that knows tools, or write the "
                "calls into the content.",
            )
        return style

    def _encode_drafts(
        self, drafts: list[tuple[int, Draft]], results: list[Rendered | TunesmithError | None]
    ) -> list[tuple[int, Draft, Encoded]]:
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

    def _split(self, draft: Draft, encoded: Encoded) -> tuple[Draft, Encoded]:
        """Encode once more with breaks where a token reaches from a header into an answer."""
        if not self.facts.split_answers:
            return draft, encoded
        breaks = tuple(place for place in draft.starts() if encoded.is_inside_token(place))
        if not breaks:
            return draft, encoded
        split = replace(draft, text=replace(draft.text, breaks=breaks))
        return split, self._encoder.encode(split.text)

    def _finish(self, draft: Draft, encoded: Encoded, policy: TrainPolicy) -> Rendered:
        ids, text = encoded.ids, draft.text.text
        renders_tools = not draft.source.tools or self._writing_format is not None or self.habits.renders_tools
        notes = draft.notes(encoded, renders_tools=renders_tools)
        if draft.is_prompt:
            return Rendered(text=text, input_ids=ids, weights=np.zeros(len(ids), dtype=np.float32), notes=notes)
        answers = draft.answers(self._locator.stops())
        weights = token_weights(draft.messages, answers, encoded, text, policy)
        appended = draft.turns()[-1].appended if draft.turns() else None
        if appended is not None:
            own = turn_weights(draft.messages, [answer.message for answer in answers], policy)[-1]
            ids = np.append(ids, np.int32(self._added_ids[appended]))
            weights = np.append(weights, np.float32(own))
            text += appended
        return Rendered(text=text, input_ids=ids, weights=weights, notes=notes)


def _with_thinking(message: Mapping[str, Any]) -> dict[str, Any]:
    reasoning = message.get("reasoning_content")
    return {"thinking": reasoning, **message} if reasoning is not None else dict(message)
