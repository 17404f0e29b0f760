# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Ids and masks equal those of the PyPI package `renderers`, whose templates are written by hand in Python."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from tests.parity.conversations import to_conversation, vocabulary_for
from tunesmith.templates.chat import load_template
from tunesmith.templates.tokenizer import load_tokenizer

renderers = pytest.importorskip("renderers", reason="the package `renderers` (extra dev) is not installed")

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "City"}},
            "required": ["city"],
        },
    },
}
CALL: dict[str, Any] = {
    "type": "function",
    "id": "call00001",
    "function": {"name": "get_weather", "arguments": {"city": "Paris"}},
}
CHATS: dict[str, dict[str, Any]] = {
    "single": {"messages": [("user", "Hello!"), ("assistant", "Hi there.")]},
    "multi": {
        "messages": [
            ("user", "Hi"),
            ("assistant", "Hello."),
            ("user", "What is 2+2?"),
            ("assistant", "4"),
            ("user", "And 3+3?"),
            ("assistant", "It is 6."),
        ]
    },
    "system": {"messages": [("system", "Be terse."), ("user", "你好 🙂"), ("assistant", "naïve\n\n`x = 1`")]},
    "tools": {
        "tools": [TOOL],
        "messages": [
            ("user", "Weather in Paris?"),
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "content": "21", "name": "get_weather", "tool_call_id": "call00001"},
            ("assistant", "It is 21 C."),
        ],
    },
}
REASONING: dict[str, Any] = {
    "messages": [
        ("user", "3*4?"),
        {"role": "assistant", "content": "12", "reasoning_content": "3*4 is 12."},
        ("user", "+1?"),
        {"role": "assistant", "content": "13", "reasoning_content": "12+1 is 13."},
    ]
}


@cache
def made(assets: Path, file: str) -> tuple[PreTrainedTokenizerFast, str]:
    """Make a vocabulary with the control tokens of a template of the assets."""
    source = (assets / "chat_templates" / file).read_text(encoding="utf-8")
    extra = "<|user|><|assistant|><|observation|><|endoftext|><think></think><tool_call></tool_call><arg_key></arg_key>"
    tokenizer = vocabulary_for([source, extra + "<arg_value></arg_value><tool_response></tool_response>"], assets)
    tokenizer.add_tokens(["<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"])
    return tokenizer, source


@pytest.mark.parametrize("name", [*CHATS, "reasoning"])
@pytest.mark.parametrize("family", ["qwen3", "qwen3_5", "llama3_1", "glm4_5"])
def test_masks_equal_those_of_renderers(assets: Path, tmp_path: Path, family: str, name: str) -> None:
    chat = chat_of(name)
    tokenizer, template_name, config = family_of(assets, tmp_path, family)
    template = load_template(tokenizer, name=template_name)
    rendered = template.render(to_conversation(chat))
    theirs = renderers.build_training_sample(
        renderers.create_renderer(tokenizer, config),
        json.loads(json.dumps(chat["messages"])),
        tools=chat.get("tools"),
        role_to_mask=lambda message: message["role"] == "assistant",
        ensure_final_stop=True,
    )
    ids, mask = rendered.input_ids.tolist(), (rendered.weights > 0).tolist()
    their_ids, their_mask = list(theirs.token_ids), [bool(trained) for trained in theirs.loss_mask]
    if family == "glm4_5":
        # Both train `<|user|>` between turns; behind the last answer they put the end of the text, we the same header.
        assert tokenizer.convert_ids_to_tokens([ids[-1], their_ids[-1]]) == ["<|user|>", "<|endoftext|>"]
        ids, their_ids = ids[:-1], their_ids[:-1]
        assert mask[-1] and their_mask[-1]
    assert ids == their_ids
    further = [index for index, pair in enumerate(zip(mask, their_mask, strict=True)) if pair[0] != pair[1]]
    texts = [str(tokenizer.convert_ids_to_tokens(ids[index])) for index in further]
    if family == "qwen3_5":
        # The prompt has opened the thoughts of an answer already; they train that opening, we do not.
        assert not any(mask[index] for index in further)
        assert re.fullmatch("(<think>Ċ+)*", "".join(texts)), texts
    elif family == "glm4_5":
        # The prompt ends with `<|assistant|>`, so a served model writes the line feed behind it; they do not train it.
        assert set(texts) <= {"Ċ"} and all(mask[index] for index in further)
        assert {tokenizer.convert_ids_to_tokens(ids[index - 1]) for index in further} == {"<|assistant|>"}
    else:
        assert further == []


@cache
def loaded(folder: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(folder)


def chat_of(name: str) -> dict[str, Any]:
    given = REASONING if name == "reasoning" else CHATS[name]
    messages = [
        message if isinstance(message, dict) else {"role": message[0], "content": message[1]}
        for message in given["messages"]
    ]
    return {**given, "messages": messages}


def family_of(assets: Path, folder: Path, family: str) -> tuple[PreTrainedTokenizerBase, str | None, Any]:
    """Give a family's tokenizer, the template where it is not the tokenizer's own, and the configuration there."""
    if family == "qwen3":
        return loaded(assets / "tokenizers" / "qwen3"), None, renderers.Qwen3RendererConfig()
    if family == "llama3_1":
        return (
            loaded(assets / "tokenizers" / "llama3_1"),
            None,
            renderers.Llama3RendererConfig(date_string="26 Jul 2024"),
        )
    file, config = {
        "qwen3_5": ("qwen/Qwen3.5-4B.jinja", renderers.Qwen35RendererConfig()),
        "glm4_5": ("glm/glm4moe.jinja", renderers.GLM45RendererConfig()),
    }[family]
    made_tokenizer, source = made(assets, file)
    tokenizer = loaded(assets / "tokenizers" / "qwen3") if family == "qwen3_5" else made_tokenizer
    path = folder / "family.jinja"
    path.write_text(source, encoding="utf-8")
    return tokenizer, str(path), config
