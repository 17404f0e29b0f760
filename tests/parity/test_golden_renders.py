# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Our sandbox writes what transformers writes: 132 templates × 13 conversations."""

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.parity.conversations import load_json
from tunesmith.core.errors import TunesmithError
from tunesmith.templates.jinja_template import JinjaTemplate, TemplateFacts
from tunesmith.templates.tokenizer import load_tokenizer

CLOCK = datetime(2025, 1, 2, 3, 4, 5)


@pytest.fixture(scope="module")
def golden(assets: Path) -> dict[str, Any]:
    renders: dict[str, Any] = load_json(assets / "chat_templates" / "golden_renders.json")
    return renders


def test_every_template_renders_as_in_transformers(assets: Path, golden: dict[str, Any]) -> None:
    tokenizer = load_tokenizer(assets / "tokenizers" / "gpt2")
    special = {name: golden[name] for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
    outcomes: Counter[str] = Counter()
    for file, cases in golden["renders"].items():
        source = (assets / "chat_templates" / file).read_text(encoding="utf-8")
        template = JinjaTemplate(source, tokenizer, TemplateFacts(name=file, origin="file", date=CLOCK))
        for name, expected in cases.items():
            chat = dict(golden["conversations"][name])
            messages, tools = chat.pop("messages"), chat.pop("tools", None)
            if isinstance(expected, str):
                assert template.render_raw(messages, tools, **chat, **special) == expected, (file, name)
            else:
                with pytest.raises(TunesmithError) as caught:
                    template.render_raw(messages, tools, **chat, **special)
                assert caught.value.problems[0].code == "template.conversation_refused"
                assert expected["error"] in str(caught.value), (file, name)
            outcomes["text" if isinstance(expected, str) else "refused"] += 1
    assert outcomes == {"text": 1472, "refused": 244}
