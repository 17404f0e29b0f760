# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The catalog's texts against the makers' own templates: the same conversations, rendered by transformers."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.parity.conversations import load_json
from tunesmith.templates.catalog import load_catalog
from tunesmith.templates.sandbox import CompiledTemplate

PLAIN = ("user", "multi_turn", "reasoning", "think_tags", "no_thinking")
ANY = (*PLAIN, "system_user", "system_multi_turn_prompt", "chinese")
TOOLS = ("tools_call", "parallel_tools", "tools_prompt")
FIRST = ("user", "system_user", "multi_turn", "reasoning", "think_tags", "no_thinking")
TOLD = ("system_user", "system_multi_turn_prompt", "chinese")
# Name, the makers' template, and the conversations that must be the same text. What is not listed differs as the
# entry's note says: where LLaMA-Factory's models were trained with another layout, its name gives that one.
PAIRS = [
    ("qwen", "qwen/Qwen-Qwen2.5-7B-Instruct", (*ANY, *TOOLS)),
    ("qwen3", "qwen/Qwen-Qwen3-0.6B", (*ANY, *TOOLS)),
    ("qwen3_nothink", "qwen/qwen3_instruct_2507", (*ANY, *TOOLS)),
    ("qwen3_vl_nothink", "qwen/qwen3_vl", (*ANY, "parallel_tools", "tools_prompt")),
    ("qwen2_vl", "qwen/qwen2_5_vl", ANY),
    ("qwen3_5", "qwen/Qwen3.5-4B", ("multi_turn", "chinese", "reasoning", "no_thinking")),
    ("llama3", "llama/llama3", ANY),
    ("llama3_2", "llama/meta-llama-Llama-3.2-3B-Instruct", ANY),
    ("llama4", "llama/llama4", ANY),
    ("gemma2", "gemma/google-gemma-2-2b-it", PLAIN),
    ("gemma3", "gemma/gemma3", ANY),
    ("gemma3n", "gemma/gemma3n", ANY),
    ("mistral", "mistral/mistral_v2v3", (*FIRST, "tools_prompt")),
    ("ministral", "mistral/mistralai-Mistral-Nemo-Instruct-2407", (*FIRST, "tools_prompt")),
    ("pixtral", "mistral/pixtral", FIRST),
    ("mistral_small", "mistral/Mistral-Small-3.2-24B-Instruct-2506", TOLD),
    ("cpm4", "internlm/internlm2-1.8b", ANY),
    ("deepseek3", "deepseek/deepseek_v3", ("user", "system_user", "multi_turn", "chinese", "tools_prompt")),
    ("glm4", "glm/glm4-9b", ANY),
    ("falcon_h1", "falcon/falcon_h1", ANY),
    ("baichuan", "baichuan/template_baichuan", ANY),
    ("phi", "phi/phi_35", ANY),
    ("phi4", "phi/phi4-14b", ANY),
    ("phi4_mini", "phi/phi4-mini-3.8b", ("user", "system_user", "think_tags")),
    ("intern_s1", "internlm/internlm2-1.8b", ANY),
    ("yi", "yi/yi-coder-1.5b", ANY),
    ("opencoder", "generic/opencoder-8b", ANY),
    ("llava_next_yi", "llava/llava-34b", ANY),
    ("smollm2", "smol/smollm2-135m", TOLD),
    ("mimo_vl", "mimo/MiMo-VL", ("user", "system_user", "parallel_tools", "tools_prompt")),
    ("llama2", "llama/llama2-7b", ("user", "system_user", "no_thinking")),
    ("chatml", "phi/dolphin-mixtral-8x7b", ANY),
]
EOS = {"deepseek3": "<｜end▁of▁sentence｜>"}


@cache
def references(assets: Path) -> Mapping[str, Any]:
    golden: Mapping[str, Any] = load_json(assets / "chat_templates" / "golden_renders.json")
    return golden


@pytest.mark.parametrize(("name", "file", "chats"), PAIRS, ids=[pair[0] for pair in PAIRS])
def test_the_text_is_the_makers(name: str, file: str, chats: tuple[str, ...], assets: Path) -> None:
    golden = references(assets)
    entry = load_catalog().find(name)
    assert entry is not None
    # The reference's clock; its other variables are named like the templates'.
    compiled = CompiledTemplate(entry.source, datetime(2025, 1, 2, 3, 4, 5))
    tokens = {key: golden[key] for key in ("bos_token", "eos_token", "pad_token", "unk_token")}
    for chat in chats:
        given = golden["conversations"][chat]
        values = {**tokens, "eos_token": EOS.get(name, tokens["eos_token"]), "tools": None, **given}
        assert compiled.render(values) == golden["renders"][f"{file}.jinja"][chat], chat
