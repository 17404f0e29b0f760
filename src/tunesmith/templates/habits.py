# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What a template wants and writes, found by trying: typed contents, the form of tool calls, the layout of answers."""

from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import product
from typing import Any

from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import ToolCall
from tunesmith.templates.messages import CallStyle, Dialogue
from tunesmith.templates.tools.base import ToolFormat, tool_formats, types_of
from tunesmith.templates.turns import CHANGED, PROBE_TOOL, Located, TurnLocator, probe_call

# Messages, tools, whether a prompt is asked for → text.
RenderPlain = Callable[[Dialogue, "list[Any] | None", bool], str]

_PROBE_ARGUMENTS: Mapping[str, Any] = {"city": "Ulm", "days": 3, "deep": {"list": [1, "two"], "yes": True}}
_PROBE_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": name,
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "city"},
                    "days": {"type": "integer", "description": "days"},
                    "deep": {"type": "object", "description": "deep"},
                },
                "required": ["city"],
            },
        },
    }
    for name in ("probe_one", "probe_two")
]


class Habits:
    """The habits of one template; each is tried at most once."""

    def __init__(self, source: str, render: RenderPlain, locator: TurnLocator) -> None:
        """`render` takes messages as they are; `locator` renders them as the template wants contents."""
        self._source = source
        self._render = render
        self._locator = locator

    @cached_property
    def content_is_typed(self) -> bool:
        """Say whether the template wants contents as lists of typed blocks."""
        system = {"role": "system", "content": CHANGED}
        user = {"role": "user", "content": CHANGED}
        for dialogue in ([system, user], [user]):
            for is_typed in (False, True):
                messages = [typed(message) for message in dialogue] if is_typed else dialogue
                try:
                    text = self._render(messages, None, True)
                except TunesmithError:
                    continue
                if text.count(CHANGED) == len(dialogue):
                    return is_typed
        return False

    @cached_property
    def call_style(self) -> CallStyle | None:
        """Find how the template wants turns that only call tools; None when it does not render calls."""
        empty, absent = self._try_calls(""), self._try_calls(None)
        if empty is None or absent is None:
            return (empty or absent or (None, ""))[0]
        # Some write an answer of no content behind the calls, unless it is absent.
        has_more = empty[1] != absent[1] and empty[1].startswith(absent[1].rstrip())
        return absent[0] if has_more else empty[0]

    def _try_calls(self, content: str | None) -> tuple[CallStyle, str] | None:
        """Render a call with this content, with and without tools, as object and as text: what works, and its text."""
        for tools, arguments in product((None, [PROBE_TOOL]), ({"a": CHANGED}, f'{{"a": "{CHANGED}"}}')):
            answer = {"role": "assistant", "content": content, "tool_calls": [probe_call(arguments)]}
            text = self._locator.try_render([_USER, answer], tools, False)
            if text is not None and CHANGED in text and f"{{'a': '{CHANGED}'}}" not in text:
                return CallStyle(empty_content=content, takes_objects=isinstance(arguments, dict)), text
        return None

    @cached_property
    def renders_tools(self) -> bool:
        """Say whether the descriptions of tools reach the text."""
        function = {"name": "f", "description": CHANGED, "parameters": {"type": "object", "properties": {}}}
        tool = {"type": "function", "function": function}
        texts = (
            self._locator.try_render(dialogue, [tool], True) for dialogue in ([_USER], [_SYSTEM, _USER], [_SYSTEM])
        )
        return any(text is not None and CHANGED in text for text in texts)

    @cached_property
    def has_tool_role(self) -> bool:
        """Say whether the template renders messages of the tool role."""
        dialogue = [_USER, {"role": "assistant", "content": "?"}, {"role": "tool", "content": CHANGED}]
        text = self._locator.try_render(dialogue, None, True)
        return text is not None and CHANGED in text

    @cached_property
    def refuses_system(self) -> bool:
        """Say whether the template renders a question alone, and none behind a system message."""
        texts = [self._locator.try_render(dialogue, None, True) for dialogue in ([_SYSTEM, _USER], [_USER])]
        return texts[0] is None and texts[1] is not None

    @cached_property
    def frame(self) -> tuple[str, str]:
        """White space that the template itself writes around an answer's content."""
        dialogue = [_USER, {"role": "assistant", "content": CHANGED}]
        try:
            located = self._locator.locate(dialogue, None)
        except TunesmithError:
            return "", ""
        turn = located.turns[0]
        before, _, after = located.text[turn.start : turn.end].partition(CHANGED)
        tail = self._locator.controls.split(after)[0]
        return (before if not before.strip() else ""), (tail if not tail.strip() else "")

    @cached_property
    def tool_format(self) -> ToolFormat | None:
        """Find the format that reads back the calls which the template writes: several in a turn, else one.

        A template that describes tools and writes no calls leaves them to the content, in the format that it describes.
        """
        style = self.call_style
        if style is None:
            kinds = [kind for _, kind in tool_formats.items() if kind.marks and self.renders_tools]
            described = (kind() for kind in kinds if all(mark in self._source for mark in kind.marks))
            return next(described, None)
        return next((found for number in (2, 1) if (found := self._try_formats(style, number)) is not None), None)

    def _try_formats(self, style: CallStyle, number: int) -> ToolFormat | None:
        calls = [ToolCall(name=name, arguments=_PROBE_ARGUMENTS) for name in ("probe_one", "probe_two")[:number]]
        text = self._answer_with(calls, style)
        if text is None:
            return None
        for _, kind in tool_formats.items():
            parsed = kind().parse(text, types_of(_PROBE_TOOLS))
            found = [(call.name, call.arguments) for call in parsed.calls] if parsed is not None else []
            if found == [(call.name, call.arguments) for call in calls]:
                return kind()
        return None

    def _answer_with(self, calls: list[ToolCall], style: CallStyle) -> str | None:
        """Render an answer that calls tools and give its text without the stop token."""
        written = [
            {
                "type": "function",
                "id": f"probe000{number}",
                "function": {"name": call.name, "arguments": _arguments(style)},
            }
            for number, call in enumerate(calls)
        ]
        answer = {"role": "assistant", "content": style.empty_content, "tool_calls": written}
        located = self._locate([_USER, answer], list(_PROBE_TOOLS)) or self._locate([_USER, answer], None)
        if located is None:
            return None
        turn = located.turns[0]
        part = located.text[turn.start : turn.end].rstrip()
        return next((part.removesuffix(stop) for stop in self._locator.stops() if part.endswith(stop)), part)

    def _locate(self, dialogue: Dialogue, tools: list[Any] | None) -> Located | None:
        try:
            return self._locator.locate(dialogue, tools)
        except TunesmithError:
            return None


def _arguments(style: CallStyle) -> Any:
    return dict(_PROBE_ARGUMENTS) if style.takes_objects else _PROBE_TEXT


def typed(message: Mapping[str, Any]) -> dict[str, Any]:
    """Write a message's content as a list of one text block."""
    content = message["content"]
    return {**message, "content": [{"type": "text", "text": content}]} if isinstance(content, str) else dict(message)


_USER = {"role": "user", "content": "?"}
_SYSTEM = {"role": "system", "content": "!"}
_PROBE_TEXT = '{"city": "Ulm", "days": 3, "deep": {"list": [1, "two"], "yes": true}}'
