# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Supervised spans in 132 real templates: the answer and its stop token, never a header, nothing else."""

from pathlib import Path

import pytest

from tests.parity.conversations import CONTROL, load_json, to_conversation, vocabulary_for
from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import Rendered
from tunesmith.templates.catalog import load_catalog
from tunesmith.templates.jinja_template import JinjaTemplate, TemplateFacts

CHAT = {
    "messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "What is 2+2?"},
        {"role": "assistant", "content": "It is 4."},
    ]
}
# What the mechanism does not reach, and why.
NO_STOP_TOKEN = {
    "falcon/falcon2-11b.jinja": "ends a turn with a line feed only",
    "glm/template_chatglm2.jinja": "ends a turn with the next round's number",
    "llama.cpp-own/llama-cpp-rwkv-world.jinja": "ends a turn with an empty line",
    "llava/llava.jinja": "ends a turn with a space",
    "llama/llama-guard3-1b.jinja": "a classifier: what follows the conversation is its question",
    "llama/llama-guard3-8b.jinja": "a classifier: what follows the conversation is its question",
}
NOT_RENDERED = {
    "qwen/qwen3_reranker.jinja": "renders a query and a document, no conversation",
}
REFUSING = {
    "firefunction/firefunction-v2-70b.jinja": "needs a variable `functions`",
    "firefunction/fireworks-ai-llama-3-firefunction-v2.jinja": "needs a variable `functions`",
    "gemma/shieldgemma-27b.jinja": "needs a variable `guideline`",
    "hermes/NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use.jinja": "needs tools",
}


@pytest.fixture(scope="module")
def templates(assets: Path) -> dict[str, JinjaTemplate]:
    folder = assets / "chat_templates"
    sources = {
        entry["file"]: (folder / entry["file"]).read_text(encoding="utf-8")
        for entry in load_json(folder / "index.json")
    }
    tokenizer = vocabulary_for(list(sources.values()), assets)
    catalog = load_catalog()
    built = {}
    for file, source in sources.items():
        facts = TemplateFacts(
            name=file,
            origin="file",
            kept_in_answers=catalog.kept_in_answers,
            implicit_stops=catalog.stops_between_turns,
        )
        built[file] = JinjaTemplate(source, tokenizer, facts)
    return built


def test_spans_hold_the_answers_and_their_stop_tokens(templates: dict[str, JinjaTemplate]) -> None:
    refused: dict[str, str] = {}
    for file, template in templates.items():
        try:
            rendered = template.render(to_conversation(CHAT))
        except TunesmithError as error:
            refused[file] = error.problems[0].code
            continue
        spans = supervised(rendered, template)
        assert len(spans) == 2, (file, spans)
        for span, answer in zip(spans, ("Hello.", "It is 4."), strict=True):
            before, found, after = span.partition(answer)
            assert found, (file, span)
            assert CONTROL.fullmatch(after.strip()), (file, span)
            assert set(CONTROL.findall(before)) <= {"<think>", "</think>"}, (file, span)
            assert not before.removeprefix("all\n").replace("<think>", "").replace("</think>", "").strip(), (file, span)
    expected = {
        **dict.fromkeys(NO_STOP_TOKEN, "template.stop_undetermined"),
        **dict.fromkeys(NOT_RENDERED, "template.spans_undetermined"),
        **dict.fromkeys(REFUSING, "template.conversation_refused"),
    }
    assert refused == expected


def test_tool_calls_are_inside_the_span(templates: dict[str, JinjaTemplate], assets: Path) -> None:
    chat = load_json(assets / "chat_templates" / "golden_renders.json")["conversations"]["tools_call"]
    reached = 0
    for file, template in templates.items():
        try:
            rendered = template.render(to_conversation(chat))
        except TunesmithError:
            continue
        call, answer = supervised(rendered, template)
        assert "get_weather" in call and "Paris" in call, (file, call)
        assert CONTROL.search(call.rstrip()[-30:]), (file, call)
        assert "It is 21 C." in answer and "temp" not in answer, (file, answer)
        assert "system" not in call and "user" not in call.replace("<|user|>", ""), (file, call)
        reached += 1
    assert reached == 52


def supervised(rendered: Rendered, template: JinjaTemplate) -> list[str]:
    """Decode each run of trained tokens."""
    spans: list[list[int]] = []
    previous = 0.0
    for token, weight in zip(rendered.input_ids.tolist(), rendered.weights.tolist(), strict=True):
        if weight and not previous:
            spans.append([])
        if weight:
            spans[-1].append(token)
        previous = weight
    return [template.decode(span) for span in spans]
