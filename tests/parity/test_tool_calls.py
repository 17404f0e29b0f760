# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Tool calls in the 132 real templates: written, read back, and the same whether arguments are objects or text."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.parity.conversations import load_json, to_conversation, vocabulary_for
from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import Conversation, Message, ToolCall
from tunesmith.templates.catalog import load_catalog
from tunesmith.templates.facts import TemplateFacts
from tunesmith.templates.jinja_template import JinjaTemplate
from tunesmith.templates.tools.base import tool_formats

# Templates that write no calls, in which a format is read off what they say about tools.
BY_DESCRIPTION = {
    "falcon/falcon_h1.jinja": "QwenFormat",
    "lfm/LFM2-8B-A1B.jinja": "LfmFormat",
    "lfm/lfm2.jinja": "LfmFormat",
}
ARGUMENTS: dict[str, Any] = {"city": "Zürich <b>", "days": 3, "deep": {"list": [1, "two"], "yes": True}, "none": ""}


@cache
def templates_of(assets: Path) -> dict[str, JinjaTemplate]:
    folder = assets / "chat_templates"
    files = [entry["file"] for entry in load_json(folder / "index.json")]
    sources = {file: (folder / file).read_text(encoding="utf-8") for file in files}
    tokenizer = vocabulary_for(list(sources.values()), assets)
    catalog = load_catalog()
    facts: dict[str, Any] = {
        "origin": "file",
        "kept_in_answers": catalog.kept_in_answers,
        "implicit_stops": catalog.stops_between_turns,
    }
    return {
        file: JinjaTemplate(source, tokenizer, TemplateFacts(name=file, **facts)) for file, source in sources.items()
    }


@pytest.fixture(scope="module")
def templates(assets: Path) -> dict[str, JinjaTemplate]:
    return templates_of(assets)


def test_a_format_is_found_for_every_template_that_knows_calls(templates: dict[str, JinjaTemplate]) -> None:
    found = {file: template.habits.tool_format for file, template in templates.items()}
    knowing = {file for file, template in templates.items() if template.habits.call_style is not None}
    assert len(knowing) == 55
    assert [file for file in sorted(knowing) if found[file] is None] == []
    others = {file: type(kind).__name__ for file, kind in found.items() if kind is not None and file not in knowing}
    assert others == BY_DESCRIPTION


def test_calls_are_read_back(templates: dict[str, JinjaTemplate]) -> None:
    tools = (tool("get_weather"), tool("get_time"))
    read = 0
    for file, template in templates.items():
        if template.habits.tool_format is None:
            continue
        for names in (("get_weather",), ("get_weather", "get_time")):
            calls = tuple(
                ToolCall(name=name, arguments=ARGUMENTS, call_id=f"call0000{n}") for n, name in enumerate(names)
            )
            answer = Message(role="assistant", content="", tool_calls=calls)
            asked = Message(role="user", content="Weather?")
            rendered = None
            for given in (tools, ()):
                try:
                    rendered = template.render(Conversation(messages=(asked, answer), tools=given))
                    break
                except TunesmithError:
                    continue
            if rendered is None:
                continue
            message = template.parse(rendered.input_ids[np.flatnonzero(rendered.weights)].tolist(), tools=tools)
            assert [(call.name, plain(call.arguments)) for call in message.tool_calls] == [
                (name, ARGUMENTS) for name in names
            ], file
            assert not message.content.strip(), (file, message.content)
            read += 1
    assert read >= 100


def test_arguments_as_text_render_like_objects(templates: dict[str, JinjaTemplate]) -> None:
    compared = 0
    for file, template in templates.items():
        style = template.habits.call_style
        if style is None or not style.takes_objects:
            continue
        texts = []
        for arguments in (ARGUMENTS, json.dumps(ARGUMENTS, ensure_ascii=False)):
            call = ToolCall(name="get_weather", arguments=arguments, call_id="call00001")
            messages = (Message(role="user", content="?"), Message(role="assistant", content="", tool_calls=(call,)))
            try:
                texts.append(template.render(Conversation(messages=messages, tools=(tool("get_weather"),))).text)
            except TunesmithError as error:
                texts.append(str(error))
        assert texts[0] == texts[1], file
        compared += 1
    assert compared == 44


def test_the_chat_of_the_assets_renders_alike_with_text_and_objects(
    templates: dict[str, JinjaTemplate], assets: Path
) -> None:
    golden = load_json(assets / "chat_templates" / "golden_renders.json")
    chat = to_conversation(golden["conversations"]["tools_call"])
    as_text = replace(chat, messages=tuple(map(with_text, chat.messages)))
    for file, template in templates.items():
        if isinstance(golden["renders"][file].get("tools_call"), str) and template.habits.call_style is not None:
            assert rendered_or_refused(template, chat) == rendered_or_refused(template, as_text), file


WRITTEN = (
    "default", "glm4", "llama3", "mistral", "qwen", "qwen3_5", "seed_oss", "ling", "lfm2", "minimax1", "minimax2",
    "gemma4", "glm4_moe", "react_en", "deepseek_v3_1",
)  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN)
def test_a_template_without_tools_writes_the_named_format(assets: Path, name: str) -> None:
    source = (assets / "chat_templates" / "smol/smollm2-135m.jinja").read_text(encoding="utf-8")
    tokenizer = vocabulary_for([source], assets)
    facts = TemplateFacts(name="x", origin="file", tool_format=name, is_tool_format_forced=True)
    template = JinjaTemplate(source, tokenizer, facts)
    call = ToolCall(name="get_weather", arguments=ARGUMENTS)
    messages = (
        Message(role="user", content="Weather?"),
        Message(role="assistant", content="", tool_calls=(call,)),
        Message(role="tool", content="21", name="get_weather"),
        Message(role="assistant", content="It is 21 C."),
    )
    rendered = template.render(Conversation(messages=messages, tools=(tool("get_weather"),)))
    system = rendered.text.partition("<|im_end|>")[0]
    assert "get_weather" in system and "The city" in system
    assert "21" in rendered.text.split("Weather?")[1].split("It is")[0]
    first = np.flatnonzero(np.diff(np.flatnonzero(rendered.weights)) > 1)[0]
    answer = rendered.input_ids[np.flatnonzero(rendered.weights)[: first + 1]].tolist()
    parsed = template.parse(answer, tools=(tool("get_weather"),))
    assert [(one.name, plain(one.arguments)) for one in parsed.tool_calls] == [("get_weather", ARGUMENTS)]


def test_a_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(TunesmithError) as caught:
        tool_formats.get("qwen3_6_coder")
    assert caught.value.problems[0].code == "template.tool_format_unknown"
    assert "qwen3_coder" in caught.value.problems[0].remedy


def tool(name: str) -> dict[str, Any]:
    types = {"city": "string", "days": "integer", "deep": "object", "none": "string"}
    properties = {key: {"type": kind, "description": f"The {key}"} for key, kind in types.items()}
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": f"Call {name}.",
            "parameters": {"type": "object", "properties": properties, "required": ["city"]},
        },
    }


def plain(arguments: Any) -> Any:
    return json.loads(arguments) if isinstance(arguments, str) else dict(arguments)


def with_text(message: Message) -> Message:
    calls = [replace(call, arguments=json.dumps(call.arguments, ensure_ascii=False)) for call in message.tool_calls]
    return replace(message, tool_calls=tuple(calls))


def rendered_or_refused(template: JinjaTemplate, chat: Conversation) -> str:
    try:
        return template.render(chat).text
    except TunesmithError as error:
        return str(error)
