# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Default system messages, found in real templates by comparing renderings."""

from pathlib import Path

import pytest

from tunesmith.templates.catalog import load_catalog
from tunesmith.templates.jinja_template import FIXED_DATE
from tunesmith.templates.own_system import default_system_of


@pytest.mark.parametrize(
    ("file", "system"),
    [
        ("qwen/Qwen-Qwen2.5-7B-Instruct", "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
        ("mimo/MiMo-VL", "You are MiMo, an AI assistant developed by Xiaomi."),
        ("smol/smollm2-135m", "You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
        ("qwen/Qwen-Qwen3-0.6B", None),
        ("gemma/google-gemma-2-2b-it", None),
    ],
)
def test_the_default_is_what_stands_in_the_system_messages_place(file: str, system: str | None, assets: Path) -> None:
    source = (assets / "chat_templates" / f"{file}.jinja").read_text(encoding="utf-8")
    assert default_system_of(source, FIXED_DATE) == system


def test_an_entry_takes_over_a_default_system_message() -> None:
    entry = load_catalog().entries["dbrx"]
    assert entry.has_own_system and default_system_of(entry.source, FIXED_DATE) is None
    told = entry.with_default_system('Say "yes".')
    assert default_system_of(told.source, FIXED_DATE) == 'Say "yes".'
