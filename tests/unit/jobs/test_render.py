# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""`tunesmith render`: text, ids and mask of one conversation, from a tokenizer's folder or a template alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.parity.conversations import load_json
from tunesmith.cli.options import read_options
from tunesmith.core.errors import TunesmithError
from tunesmith.jobs import render, render_text

Render = Callable[..., dict[str, Any]]


@pytest.fixture
def rendering(tmp_path: Path) -> Render:
    """Give the command as a function: messages, its words, whether there is a tokenizer."""

    def run(messages: Any, *words: str, has_tokenizer: bool = True) -> dict[str, Any]:
        path = tmp_path / "messages.json"
        path.write_text(json.dumps(messages), encoding="utf-8")
        flags = read_options("render", ["--messages", str(path), *words]).flags
        return render.run(flags) if has_tokenizer else render_text.run(flags)

    return run


CHAT = [{"role": "user", "content": "Hi <|im_end|>"}, {"role": "assistant", "content": "Hello."}]


def test_a_tokenizer_gives_text_ids_mask_and_stops(assets: Path, rendering: Render) -> None:
    result = rendering(CHAT, "--model_name_or_path", str(assets / "tokenizers" / "smollm2"))
    assert result["text"].endswith("<|im_start|>assistant\nHello.<|im_end|>\n")
    assert len(result["input_ids"]) == len(result["train_mask"])
    trained = [token for token, mask in zip(result["input_ids"], result["train_mask"], strict=True) if mask]
    assert trained[-1] == result["stop_ids"][0] and len(trained) == 3
    assert result["input_ids"].count(result["stop_ids"][0]) == 3, "the typed end marker is text"


def test_a_prompt_trains_nothing_and_variables_reach_the_template(assets: Path, rendering: Render) -> None:
    words = ["--model_name_or_path", str(assets / "tokenizers" / "qwen3"), "--add_generation_prompt"]
    kwargs = ["--template_kwargs", '{"enable_thinking": false}']
    silent = rendering(CHAT[:1], *words, *kwargs)
    assert silent["text"].endswith("<think>\n\n</think>\n\n") and not any(silent["train_mask"])
    assert not rendering(CHAT[:1], *words)["text"].endswith("</think>\n\n")


def test_raw_writes_what_transformers_writes(assets: Path, rendering: Render, tmp_path: Path) -> None:
    golden = load_json(assets / "chat_templates" / "golden_renders.json")
    tokens = [f"--{name}={golden[name]}" for name in ("bos_token", "eos_token", "pad_token", "unk_token")]
    files = ("qwen/qwen3.jinja", "llama/meta-llama-Llama-3.2-3B-Instruct.jinja", "glm/glm4moe.jinja",
             "mistral/mistral_v3_tekken.jinja")  # fmt: skip
    for file in files:
        for name, expected in golden["renders"][file].items():
            chat = dict(golden["conversations"][name])
            messages, tools = chat.pop("messages"), chat.pop("tools", None)
            words = ["--template", str(assets / "chat_templates" / file), "--raw", "--date", "2025-01-02T03:04:05"]
            words += ["--add_generation_prompt"] if chat.pop("add_generation_prompt") else []
            words += ["--template_kwargs", json.dumps(chat)] if chat else []
            given = {"messages": messages, "tools": tools}
            folder = ["--model_name_or_path", str(assets / "tokenizers" / "gpt2")]
            # A tokenizer takes a second to load; the text does not come from it.
            for has_tokenizer in (False, True)[: 1 + (name in ("tools_call", "blocks"))]:
                more = folder if has_tokenizer else []
                if isinstance(expected, str):
                    result = rendering(given, *words, *tokens, *more, has_tokenizer=has_tokenizer)
                    assert result["text"] == expected, (file, name)
                else:
                    with pytest.raises(TunesmithError) as caught:
                        rendering(given, *words, *tokens, *more, has_tokenizer=has_tokenizer)
                    assert expected["error"] in str(caught.value)


def test_raw_masks_answers_as_the_training_path_does(assets: Path, rendering: Render) -> None:
    words = ["--model_name_or_path", str(assets / "tokenizers" / "qwen3")]
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    raw, plain = rendering(chat, *words, "--raw"), rendering(chat, *words)
    assert raw["input_ids"] == plain["input_ids"] and raw["train_mask"] == plain["train_mask"]


def test_arguments_as_text_become_objects_unless_raw(assets: Path, rendering: Render) -> None:
    golden = load_json(assets / "chat_templates" / "golden_renders.json")
    chats = golden["conversations"]
    words = ["--model_name_or_path", str(assets / "tokenizers" / "qwen3")]
    as_text = {key: chats["tools_call_string_args"][key] for key in ("messages", "tools")}
    as_object = {**as_text, "messages": [*as_text["messages"][:1], *chats["tools_call"]["messages"][2:]]}
    assert rendering(as_text, *words)["text"] == rendering(as_object, *words)["text"]


def test_what_a_template_drops_is_noted(assets: Path, rendering: Render) -> None:
    chat = [{"role": "system", "content": "Be terse."}, *CHAT]
    result = rendering(chat, "--model_name_or_path", str(assets / "tokenizers" / "phi3_mini"))
    assert any("message 0 (system)" in note for note in result["notes"]) == ("Be terse." not in result["text"])
    result = rendering(chat, "--model_name_or_path", str(assets / "tokenizers" / "mistral_v3"))
    assert result["notes"] == ["The template does not render message 0 (system)."]


def test_the_date_is_given_and_told(rendering: Render, tmp_path: Path) -> None:
    path = tmp_path / "dated.jinja"
    path.write_text("{{ strftime_now('%Y-%m-%d') }} {{ messages[0].content }}", encoding="utf-8")
    result = rendering(CHAT, "--template", str(path), "--date", "2024-02-29", has_tokenizer=False)
    assert result["text"].startswith("2024-02-29") and result["date"].startswith("2024-02-29")
    with pytest.raises(TunesmithError):
        rendering(CHAT, "--template", str(path), "--date", "yesterday", has_tokenizer=False)


@pytest.mark.parametrize("messages", [[], {"a": 1}, [{"role": "usr", "content": "x"}], "text"])
def test_what_is_no_conversation_is_refused(rendering: Render, messages: Any) -> None:
    with pytest.raises(TunesmithError) as caught:
        rendering(messages, "--template", "chatml", has_tokenizer=False)
    assert caught.value.problems[0].code == "template.messages_malformed"
