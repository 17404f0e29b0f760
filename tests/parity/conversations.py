# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Reads the assets' chats into conversations, and gives the chat templates and tokenizers of the assets."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from tunesmith.core.types import Conversation, Message, ToolCall

TOKENIZERS = (
    "baichuan",
    "chatglm3",
    "deepseek_v3",
    "gpt2",
    "internlm1",
    "llama3_1",
    "minilm_bert",
    "mistral_v3",
    "phi3_mini",
    "qwen3",
    "smollm2",
    "whisper_tiny",
)
# Texts in the assets' templates that are single tokens in the vocabularies they were written for.
CONTROL = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>\s]{1,40}｜>|</?s>|<pad>|<unk>|<(?:start|end)_of_(?:turn|role|text|utterance)>"
    r"|\[/?[A-Z_]{4,}\]|\[gMASK\]|<sop>|<reserved_\d+>|</?seed:[a-z_]+>|</?think>|</?tool_call>"
)


def load_json(path: Path) -> Any:
    """Read a JSON file of the assets."""
    return json.loads(path.read_text(encoding="utf-8"))


def to_conversation(chat: Mapping[str, Any]) -> Conversation:
    """Read a chat in the form that `apply_chat_template` takes."""
    messages = [_to_message(message) for message in chat["messages"]]
    return Conversation(messages=tuple(messages), tools=tuple(chat.get("tools") or ()))


def vocabulary_for(sources: list[str], assets: Path) -> PreTrainedTokenizerFast:
    """Make a tokenizer that holds the control tokens of all given templates: GPT-2's, with them added."""
    backend = Tokenizer.from_file(str(assets / "tokenizers" / "gpt2" / "tokenizer.json"))
    tokens = sorted({token for source in sources for token in CONTROL.findall(source)})
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **special)
    tokenizer.add_tokens(tokens, special_tokens=True)
    return tokenizer


def _to_message(message: Mapping[str, Any]) -> Message:
    calls = [
        ToolCall(name=call["function"]["name"], arguments=call["function"]["arguments"], call_id=call.get("id"))
        for call in message.get("tool_calls", ())
    ]
    return Message(
        role=message["role"],
        content=message["content"],
        reasoning=message.get("reasoning_content"),
        tool_calls=tuple(calls),
        name=message.get("name"),
    )
