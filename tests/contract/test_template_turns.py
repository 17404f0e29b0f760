# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Properties of generated conversations with system text, thoughts and tools, over templates that know them."""

import json
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import Conversation, Message, Rendered, ToolCall
from tunesmith.templates.base import TrainPolicy
from tunesmith.templates.chat import load_template
from tunesmith.templates.jinja_template import JinjaTemplate
from tunesmith.templates.tokenizer import load_tokenizer

PAIRS = [
    ("qwen3", None),
    ("qwen3", "qwen3"),
    ("qwen3", "qwen3_5"),
    ("qwen3", "qwen"),
    ("llama3_1", None),
    ("mistral_v3", "mistral"),
    ("deepseek_v3", "deepseek3"),
    ("smollm2", "smollm2"),
    ("phi3_mini", "phi"),
]
TOOLS: tuple[dict[str, Any], ...] = tuple(
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"Call {name}.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "City"},
                    "days": {"type": "integer", "description": "Days"},
                },
                "required": ["city"],
            },
        },
    }
    for name in ("get_weather", "get_time")
)
# Words only: white space at edges is what templates trim (test_templates.py), markup is told apart below.
WORDS = st.sampled_from(["Hello", "world", "你好", "🙂", "3 < 4", "{{ x }}", "naïve", "a\nb", "`x`"])
TEXTS = st.lists(WORDS, min_size=1, max_size=4).map(" ".join)
ARGUMENTS = st.fixed_dictionaries({"city": TEXTS, "days": st.integers(-5, 400)})
CALLS = st.builds(ToolCall, name=st.sampled_from(["get_weather", "get_time"]), arguments=ARGUMENTS)
ANSWERS = st.builds(Message, role=st.just("assistant"), content=TEXTS, reasoning=st.none() | TEXTS)


@st.composite
def conversations(draw: st.DrawFn, *, has_tools: bool = False) -> Conversation:
    """Make a conversation that ends with an answer; with tools, every round calls one first."""
    messages = [Message(role="system", content=draw(TEXTS))] if draw(st.booleans()) else []
    for number in range(draw(st.integers(1, 3))):
        messages.append(Message(role="user", content=draw(TEXTS)))
        if has_tools:
            given_id = f"call0000{number}"
            call = draw(CALLS)
            call = ToolCall(name=call.name, arguments=call.arguments, call_id=given_id)
            messages.append(Message(role="assistant", content="", tool_calls=(call,)))
            messages.append(Message(role="tool", content=json.dumps(draw(TEXTS)), name=call.name))
        messages.append(draw(ANSWERS))
    return Conversation(messages=tuple(messages), tools=TOOLS if has_tools else ())


few = settings(
    max_examples=10, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@cache
def template_of(folder: Path, name: str | None) -> JinjaTemplate:
    template = load_template(load_tokenizer(folder), name=name)
    assert isinstance(template, JinjaTemplate)
    return template


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0]}-{pair[1] or 'own'}")
def template(request: pytest.FixtureRequest, assets: Path) -> JinjaTemplate:
    family, name = request.param
    return template_of(assets / "tokenizers" / family, name)


@given(conversation=conversations() | conversations(has_tools=True))
@few
def test_every_answer_is_trained_to_its_stop_and_nothing_else(
    template: JinjaTemplate, conversation: Conversation
) -> None:
    rendered = rendered_or_none(template, conversation)
    if rendered is None:
        return
    stops = template.stop_ids()
    answers = [index for index, message in enumerate(conversation.messages) if message.role == "assistant"]
    spans = template.answer_spans(conversation, TrainPolicy())
    assert [index for index, _, _ in spans] == answers
    outside = np.ones(len(rendered.input_ids), dtype=bool)
    for _, start, end in spans:
        assert rendered.weights[start:end].all()
        assert int(rendered.input_ids[end - 1]) in stops
        outside[start:end] = False
    assert not rendered.weights[outside].any()


@given(conversation=conversations() | conversations(has_tools=True))
@few
def test_what_is_trained_is_read_back_as_the_notes_say(template: JinjaTemplate, conversation: Conversation) -> None:
    rendered = rendered_or_none(template, conversation)
    if rendered is None:
        return
    for index, start, end in template.answer_spans(conversation, TrainPolicy()):
        message = conversation.messages[index]
        parsed = template.parse(rendered.input_ids[start:end].tolist(), tools=TOOLS)
        assert squeezed(parsed.content) == squeezed(message.content)
        is_dropped = f"The template does not render the reasoning of message {index}." in rendered.notes
        assert parsed.reasoning == (None if is_dropped else message.reasoning)
        assert [(call.name, as_object(call)) for call in parsed.tool_calls] == [
            (call.name, as_object(call)) for call in message.tool_calls
        ]


@given(conversation=conversations() | conversations(has_tools=True))
@few
def test_every_sample_is_what_inference_sees(template: JinjaTemplate, conversation: Conversation) -> None:
    if rendered_or_none(template, conversation) is None:
        return
    (result,) = template.render_samples([conversation], policy=TrainPolicy(reasoning="keep"))
    if isinstance(result, TunesmithError):
        assert result.problems[0].code == "template.reasoning_dropped"
        return
    answers = [index for index, message in enumerate(conversation.messages) if message.role == "assistant"]
    prompts = [
        template.render(Conversation(messages=conversation.messages[:i], tools=conversation.tools),
                        add_generation_prompt=True)
        for i in answers
    ]  # fmt: skip
    assert sum(count_runs(rendered) for rendered in result) == len(answers)
    for prompt in prompts:
        # Each prompt is how exactly one of the samples goes on with a trained token, or melts into one token with it.
        count = len(prompt.input_ids)
        going_on = [
            rendered
            for rendered in result
            if rendered.input_ids[:count].tolist() == prompt.input_ids.tolist() and rendered.weights[count] > 0
        ]
        assert going_on, (prompt.text, [rendered.text for rendered in result])
    is_extending = all(later.text.startswith(earlier.text) for earlier, later in pairwise(prompts))
    assert is_extending or len(result) > 1


def rendered_or_none(template: JinjaTemplate, conversation: Conversation) -> Rendered | None:
    """Render a conversation, or give None where the template itself refuses it or knows no calls."""
    try:
        return template.render(conversation)
    except TunesmithError as error:
        assert error.problems[0].code in ("template.conversation_refused", "template.answer_dropped"), error
        return None


def count_runs(rendered: Rendered) -> int:
    """Count the unbroken runs of trained tokens."""
    return int((np.diff(np.concatenate([[0], rendered.weights > 0])) == 1).sum())


def as_object(call: ToolCall) -> Any:
    return json.loads(call.arguments) if isinstance(call.arguments, str) else dict(call.arguments)


def squeezed(text: str) -> str:
    return "".join(text.split())
