# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A template without a vocabulary: conversations to text, for when there is no tokenizer. Imports none."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tunesmith.core.types import Conversation
from tunesmith.templates.habits import Habits, typed
from tunesmith.templates.messages import CallStyle, Dialogue, to_dialogue
from tunesmith.templates.sandbox import CompiledTemplate
from tunesmith.templates.turns import OpenStops, TurnLocator, without_marks

_NO_TOKEN = re.compile("(?!)")


class PlainTemplate:
    """Renders text only."""

    def __init__(self, source: str, date: datetime, variables: Mapping[str, Any]) -> None:
        """`variables` hold the special tokens and what else is handed to the template."""
        self._compiled = CompiledTemplate(source, date)
        self._variables = dict(variables)
        locator = TurnLocator(self._render_dialogue, controls=_NO_TOKEN, stops=OpenStops(), kept=())
        self._habits = Habits(source, self.render_dicts, locator)

    def render(self, conversation: Conversation, *, is_prompt: bool) -> str:
        """Render a conversation as the template wants it."""
        style = self._habits.call_style or CallStyle()
        tools = list(conversation.tools) or None
        return without_marks(self._render_dialogue(to_dialogue(conversation.messages, style), tools, is_prompt))

    def render_dicts(self, messages: Dialogue, tools: list[Any] | None, is_prompt: bool) -> str:
        """Render dictionaries as they are."""
        inputs = {"messages": messages, "tools": tools, "documents": None, "add_generation_prompt": is_prompt}
        return without_marks(self._compiled.render({**self._variables, **inputs}))

    def _render_dialogue(self, dialogue: Dialogue, tools: list[Any] | None, is_prompt: bool) -> str:
        messages = [typed(message) for message in dialogue] if self._habits.content_is_typed else dialogue
        return self.render_dicts(messages, tools, is_prompt)
