# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Compares what training, serving and transformers make of the same conversations, token by token.

Training path: the rendering with its mask. Serving path: the prompt of every answer. Reference: the tokenizer's
`apply_chat_template`. A conversation that the template refuses must be refused by all of them.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import yaml
from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import Conversation, Rendered
from tunesmith.templates.base import TrainPolicy
from tunesmith.templates.jinja_template import JinjaTemplate
from tunesmith.templates.reading import to_conversation
from tunesmith.templates.reasoning import MARKS

_CLOCK = re.compile(r"""strftime_now\(\s*(?P<quote>["'])(?P<format>.*?)(?P=quote)\s*\)""")
# What a prompt writes to open or to skip thoughts.
_THOUGHTS = re.compile(r"(?:\s|" + "|".join(re.escape(mark) for pair in MARKS for mark in pair) + ")+")


@dataclass(frozen=True, kw_only=True)
class TurnRow:
    """One assistant turn in a rendering: how many of its tokens are trained, whether its stop and its header are."""

    case: str
    message: int
    tokens: int
    trained: int
    is_stop_trained: bool
    is_header_trained: bool


@dataclass(frozen=True, kw_only=True)
class CaseOutcome:
    """What became of one conversation; `differences` are what must not be, `refused` the template's own words.

    `openings` tell of prompts that open thoughts which the rendered answers lack: a fault of many makers' templates.
    """

    name: str
    turns: tuple[TurnRow, ...] = ()
    notes: tuple[str, ...] = ()
    refused: str = ""
    differences: tuple[str, ...] = ()
    openings: tuple[str, ...] = ()


def verify_template(
    template: JinjaTemplate, tokenizer: PreTrainedTokenizerBase, *, is_brief: bool = False, policy: TrainPolicy
) -> list[CaseOutcome]:
    """Render the corpus by all paths; of `policy` only what is rendered matters, every answer is trained here."""
    rules = replace(policy, mask_history=False, loss_scale=None, train_on_prompt=False)
    cases = [case for case in _load_cases() if case.get("brief", False) or not is_brief]
    return [_verify_case(template, tokenizer, case, rules) for case in cases]


def _verify_case(
    template: JinjaTemplate, tokenizer: PreTrainedTokenizerBase, case: dict[str, Any], policy: TrainPolicy
) -> CaseOutcome:
    conversation = to_conversation(case["messages"], case.get("tools"))
    name = str(case["name"])
    try:
        rendered = template.render(conversation, policy=policy)
    except TunesmithError as error:
        return _refused(template, tokenizer, conversation, name, error)
    spans = template.answer_spans(conversation, policy)
    turns = tuple(_turn_rows(name, template, rendered, spans))
    differences = (
        *_reference_differences(template, tokenizer, conversation, policy),
        *_mask_differences(turns, rendered, spans),
    )
    openings, prompts = _prompt_differences(template, conversation, rendered, policy)
    return CaseOutcome(
        name=name, turns=turns, notes=rendered.notes, differences=(*differences, *prompts), openings=openings
    )


def _refused(
    template: JinjaTemplate,
    tokenizer: PreTrainedTokenizerBase,
    conversation: Conversation,
    name: str,
    error: TunesmithError,
) -> CaseOutcome:
    """Judge a refusal: the template's own is right when transformers meets it too; ours protect the training."""
    problem = error.problems[0]
    reason = problem.message
    if problem.code == "template.conversation_refused":
        text = _reference_text(template, tokenizer, conversation, TrainPolicy())
        if text is not None:
            return CaseOutcome(name=name, differences=(f"tunesmith refuses what transformers renders: {reason}",))
    return CaseOutcome(name=name, refused=reason)


def _reference_text(
    template: JinjaTemplate, tokenizer: PreTrainedTokenizerBase, conversation: Conversation, policy: TrainPolicy
) -> str | None:
    """Render by transformers, with the same template, variables and messages."""
    messages, tools = template.as_messages(conversation, policy)
    try:
        text = tokenizer.apply_chat_template(
            messages,
            tools=tools,
            chat_template=_with_fixed_date(template),
            tokenize=False,
            **template.facts.variables,
        )
    except (TemplateError, TypeError, ValueError, KeyError, AttributeError):
        return None
    return str(text)


def _reference_differences(
    template: JinjaTemplate, tokenizer: PreTrainedTokenizerBase, conversation: Conversation, policy: TrainPolicy
) -> Iterator[str]:
    rendered = template.render(conversation, policy=policy)
    text = _reference_text(template, tokenizer, conversation, policy)
    if text is None:
        messages, _ = template.as_messages(conversation, policy)
        # transformers 5.23 removes a content of None, which these templates then miss: it cannot render such calls.
        if all(message["content"] is not None for message in messages):
            yield "transformers refuses what tunesmith renders"
        return
    ours = rendered.text[: len(text)] if _is_appended_stop(template, rendered.text[len(text) :]) else rendered.text
    if ours != text:
        yield f"the text differs from apply_chat_template at character {_first_difference(ours, text)}"
        return
    theirs = tokenizer(text, add_special_tokens=False)["input_ids"]
    ids = rendered.input_ids.tolist()
    if template.facts.split_answers:
        # The catalog's templates let no token reach from a header into an answer, so only the text can be compared.
        if not template.decode(ids).startswith(template.decode(theirs)):
            yield "the ids stand for another text than those of apply_chat_template"
    elif ids[: len(theirs)] != theirs:
        yield f"the ids differ from apply_chat_template at token {_first_difference(ids, theirs)}"


def _prompt_differences(
    template: JinjaTemplate, conversation: Conversation, rendered: Rendered, policy: TrainPolicy
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Compare the prompt of every answer with the beginning of what is trained: openings of thoughts, differences.

    Earlier answers may stand in a rewritten text (samples.py); the last one must go on from its prompt.
    """
    answers = [index for index, message in enumerate(conversation.messages) if message.role == "assistant"]
    openings: list[str] = []
    differences: list[str] = []
    for index in answers:
        asked = replace(conversation, messages=conversation.messages[:index])
        try:
            prompt = template.render(asked, add_generation_prompt=True, policy=policy)
        except TunesmithError as error:
            differences.append(f"the prompt of message {index} is refused: {error.problems[0].message}")
            continue
        if rendered.text.startswith(prompt.text):
            differences += _token_differences(index, prompt, rendered)
        elif index == answers[-1]:
            place = _first_difference(prompt.text, rendered.text)
            tail = prompt.text[place:]
            message = f"the prompt of message {index} goes on with {tail!r}, the training text does not"
            (openings if _THOUGHTS.fullmatch(tail) else differences).append(message)
    return tuple(openings), tuple(differences)


def _token_differences(index: int, prompt: Rendered, rendered: Rendered) -> Iterator[str]:
    count = len(prompt.input_ids)
    if not np.array_equal(rendered.input_ids[:count], prompt.input_ids) and not _melts(rendered):
        yield f"the prompt of message {index} is not how the training tokens begin"


def _mask_differences(
    turns: Sequence[TurnRow], rendered: Rendered, spans: Sequence[tuple[int, int, int]]
) -> Iterator[str]:
    for turn in turns:
        if not turn.is_stop_trained:
            yield f"the stop token of message {turn.message} is not trained"
        if turn.is_header_trained:
            yield f"the header of message {turn.message} is trained"
    outside = np.ones(len(rendered.input_ids), dtype=bool)
    for _, start, end in spans:
        outside[start:end] = False
    if rendered.weights[outside].any():
        yield "tokens outside of answers are trained"


def _turn_rows(
    case: str, template: JinjaTemplate, rendered: Rendered, spans: Sequence[tuple[int, int, int]]
) -> Iterator[TurnRow]:
    stops = set(template.stop_ids())
    for message, start, end in spans:
        ids, weights = rendered.input_ids[start:end], rendered.weights[start:end]
        # White space may stand behind the stop token inside a turn.
        stop = next((place for place in reversed(range(len(ids))) if int(ids[place]) in stops), None)
        yield TurnRow(
            case=case,
            message=message,
            tokens=end - start,
            trained=int(np.count_nonzero(weights)),
            is_stop_trained=stop is not None and bool(weights[stop]),
            is_header_trained=start > 0 and bool(rendered.weights[start - 1]),
        )


def _is_appended_stop(template: JinjaTemplate, rest: str) -> bool:
    return rest in [template.decode([stop]) for stop in template.stop_ids()]


def _with_fixed_date(template: JinjaTemplate) -> str:
    """Give the text of a template that prints its fixed date instead of today's."""

    def written(match: re.Match[str]) -> str:
        return repr(template.facts.date.strftime(match["format"]))

    return _CLOCK.sub(written, template.source)


def _melts(rendered: Rendered) -> bool:
    """Say whether an answer's start is one token with its header: then no prompt can be its beginning."""
    return any("is one token with its header" in note for note in rendered.notes)


def _first_difference(first: Sequence[Any], second: Sequence[Any]) -> int:
    pairs = enumerate(zip(first, second, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(first), len(second)))


@cache
def _load_cases() -> list[dict[str, Any]]:
    text = resources.files("tunesmith.templates").joinpath("verification.yaml").read_text(encoding="utf-8")
    cases: list[dict[str, Any]] = yaml.safe_load(text)["cases"]
    return cases
