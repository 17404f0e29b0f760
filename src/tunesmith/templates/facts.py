# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What goes with a template's text, and the files in which both travel with a model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tunesmith.templates.base import Origin, SpecialText

TEMPLATE_FILE = "chat_template.jinja"
FACTS_FILE = "tunesmith_template.json"
# Templates that print today's date get this one, so that a row gives the same tokens on any day.
FIXED_DATE = datetime(2025, 1, 1)


@dataclass(frozen=True, kw_only=True)
class TemplateFacts:
    """What goes with a template's text: its name, the date it prints, its variables and known stop tokens.

    `kept_in_answers` are special tokens that stay tokens in assistant content. `implicit_stops` are headers of the next
    turn that end an answer where the template writes no stop; `final_stop` is put behind the last answer where there is
    no such header either; `stops` are further tokens that end an answer when generating. With `split_answers` no token
    reaches across the start of an answer, so that training continues exactly the prompt that is served; without it ids
    are always those of `apply_chat_template`. `special_text` says what becomes of text that reads like a special token.
    `tool_format` names how tools are written into texts: always when `is_tool_format_forced`, else where the template
    knows none.
    """

    name: str
    origin: Origin
    date: datetime = FIXED_DATE
    variables: Mapping[str, Any] = field(default_factory=dict)
    kept_in_answers: tuple[str, ...] = ()
    implicit_stops: tuple[str, ...] = ()
    final_stop: str | None = None
    stops: tuple[str, ...] = ()
    split_answers: bool = False
    special_text: SpecialText = "escape"
    tool_format: str | None = None
    is_tool_format_forced: bool = False
