# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""`tunesmith render` from a template alone: one conversation to text, without a tokenizer. Imports no transformers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tunesmith.core.errors import refusal
from tunesmith.core.types import Conversation
from tunesmith.templates.plain_text import PlainTemplate
from tunesmith.templates.reading import malformed, read_json, read_messages, to_conversation
from tunesmith.templates.sources import read_source

_DATE = datetime(2025, 1, 1)


@dataclass(frozen=True, kw_only=True)
class RenderRequest:
    """What one call of `render` asks for; `tokens` are special tokens by name, `is_raw` takes messages as they are."""

    messages: list[dict[str, Any]]
    tools: list[Any] | None
    is_prompt: bool = False
    is_raw: bool = False
    date: datetime = _DATE
    variables: Mapping[str, Any] = field(default_factory=dict)
    tokens: Mapping[str, str] = field(default_factory=dict)

    def conversation(self) -> Conversation:
        """Read the messages."""
        return to_conversation(self.messages, self.tools)


def run(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Render to text."""
    request = read_request(flags)
    template = PlainTemplate(read_source(flags["template"]), request.date, {**request.tokens, **request.variables})
    if request.is_raw:
        text = template.render_dicts(request.messages, request.tools, request.is_prompt)
    else:
        text = template.render(request.conversation(), is_prompt=request.is_prompt)
    return {"text": text, "template": flags["template"], "date": request.date.isoformat(), "notes": []}


def read_request(flags: Mapping[str, Any]) -> RenderRequest:
    """Read the files and texts that the command names."""
    messages, tools = read_messages(Path(flags["messages"]))
    if flags["tools"] is not None:
        tools = read_json(Path(flags["tools"]))
        if not isinstance(tools, list):
            raise malformed(f"The file {flags['tools']} holds no list of tools.", file=str(flags["tools"]))
    names = ("bos_token", "eos_token", "pad_token", "unk_token")
    return RenderRequest(
        messages=messages,
        tools=tools,
        is_prompt=flags["add_generation_prompt"],
        is_raw=flags["raw"],
        date=_read_date(flags["date"]),
        variables=flags["template_kwargs"] or {},
        tokens={name: flags[name] for name in names if flags[name] is not None},
    )


def _read_date(text: str | None) -> datetime:
    try:
        return datetime.fromisoformat(text) if text is not None else _DATE
    except ValueError as error:
        raise refusal(
            "cli.word_unknown", f"--date {text}: {error}.", "Write an ISO date or date-time, e.g. 2025-01-02."
        ) from error
