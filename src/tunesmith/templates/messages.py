# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Conversations as chat templates see them: plain dictionaries, with special-token text replaced by placeholders.

A placeholder stands for text that a person typed and that reads like a control token; it survives the template and is
tokenised as plain text afterwards (encoder.py).
"""

import json
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.core.errors import refusal
from tunesmith.core.types import Conversation, Message, ToolCall
from tunesmith.templates.base import SpecialText

ESCAPE = "\ufdd3"
_FIRST_INDEX = 0xF0000
_RESERVED = re.compile("[\ufdd0-\ufdef]")
_ESCAPED_CHARACTER = rf"{ESCAPE}(?P<index>[\U000f0000-\U000ffffd])"
# A template may write JSON in pure ASCII, which turns a placeholder into three \u escapes.
_ESCAPED_JSON = r"\\ufdd3\\u(?P<high>db[89a-f][0-9a-f])\\u(?P<low>d[c-f][0-9a-f]{2})"
_PLACEHOLDER = re.compile(f"{_ESCAPED_CHARACTER}|{_ESCAPED_JSON}")

Dialogue = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class CallStyle:
    """How a template wants turns that call tools: arguments as object or JSON text, absent content as "" or None."""

    takes_objects: bool = True
    empty_content: str | None = ""


@dataclass(frozen=True, kw_only=True)
class EscapedText:
    """A rendered text and the ranges in it that must be tokenised as plain text.

    No token may reach across `breaks`. `shifts` says how far positions behind a place of the text with placeholders
    have moved.
    """

    text: str
    plain: tuple[tuple[int, int], ...] = ()
    breaks: tuple[int, ...] = ()
    shifts: tuple[tuple[int, int], ...] = ()

    def position(self, hidden: int) -> int:
        """Turn a position in the text with placeholders into one in this text."""
        place = bisect_right(self.shifts, (hidden, 1 << 62)) - 1
        return hidden + self.shifts[place][1] if place >= 0 else hidden


class Escaper:
    """Replaces special-token text in contents by placeholders, and puts it back after rendering."""

    def __init__(
        self, special_tokens: Sequence[str], kept_in_answers: Sequence[str], mode: SpecialText = "escape"
    ) -> None:
        """`kept_in_answers` are reasoning and tool markers that stay tokens in assistant turns.

        In the mode `error` such text is refused, with `allow` it becomes the token that it reads like.
        """
        self._mode = mode
        self._tokens = list(special_tokens)
        self._index = {token: index for index, token in enumerate(self._tokens)}
        kept = set(kept_in_answers)
        self._everywhere = any_of(self._tokens)
        self._in_answers = any_of([token for token in self._tokens if token not in kept])

    def hide(self, value: Any, *, is_answer: bool = False) -> Any:
        """Replace special-token text in a string, or in all strings of a JSON value."""
        if isinstance(value, str):
            return self._hide_text(value, self._in_answers if is_answer else self._everywhere)
        if isinstance(value, Mapping):
            return {key: self.hide(item, is_answer=is_answer) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.hide(item, is_answer=is_answer) for item in value]
        return value

    def reveal(self, text: str) -> EscapedText:
        """Put the hidden texts back and say where they are."""
        if ESCAPE not in text and "\\ufdd3" not in text:
            return EscapedText(text=text)
        pieces: list[str] = []
        plain: list[tuple[int, int]] = []
        shifts: list[tuple[int, int]] = []
        position = length = 0
        for match in _PLACEHOLDER.finditer(text):
            before = text[position : match.start()]
            original = self._original(match)
            pieces += [before, original]
            plain.append((length + len(before), length + len(before) + len(original)))
            length, position = plain[-1][1], match.end()
            shifts.append((position, length - position))
        pieces.append(text[position:])
        whole = "".join(pieces)
        if ESCAPE in whole:
            raise refusal(
                "template.special_text_unescapable",
                "The chat template takes apart text of a message that reads like a control token.",
                "Remove the control-token text from the message, or choose another template.",
            )
        return EscapedText(text=whole, plain=tuple(plain), shifts=tuple(shifts))

    def _hide_text(self, text: str, pattern: re.Pattern[str]) -> str:
        if _RESERVED.search(text):
            raise refusal(
                "template.character_reserved",
                "A message contains a Unicode noncharacter between U+FDD0 and U+FDEF, which no text should hold.",
                "Remove these characters from the data.",
            )
        if self._mode == "allow":
            return text
        if self._mode == "error" and (found := pattern.search(text)):
            raise refusal(
                "template.special_text_found",
                f"A message contains {found.group()!r}, which is a control token of this vocabulary.",
                "Remove it from the data, or set `special_tokens_in_content: escape` to train it as plain text.",
                key="special_tokens_in_content",
            )
        return pattern.sub(lambda match: ESCAPE + chr(_FIRST_INDEX + self._index[match.group()]), text)

    def _original(self, match: re.Match[str]) -> str:
        if match["index"] is not None:
            return self._tokens[ord(match["index"]) - _FIRST_INDEX]
        surrogates = chr(int(match["high"], 16)) + chr(int(match["low"], 16))
        character = surrogates.encode("utf-16", "surrogatepass").decode("utf-16")
        return json.dumps(self._tokens[ord(character) - _FIRST_INDEX])[1:-1]


def hide_all(conversation: Conversation, escaper: Escaper) -> Conversation:
    """Escape all texts of a conversation and its tools."""
    if not conversation.messages:
        raise refusal(
            "template.conversation_empty", "A conversation has no messages.", "Remove the row or give it messages."
        )
    return Conversation(
        messages=tuple(_hidden(message, escaper) for message in conversation.messages),
        tools=tuple(escaper.hide(tool) for tool in conversation.tools),
    )


def to_dialogue(messages: Sequence[Message], call_style: CallStyle) -> Dialogue:
    """Write messages as the dictionaries that `apply_chat_template` takes."""
    call_ids: list[str] = []
    dialogue: Dialogue = []
    for message in messages:
        entry = _to_dict(message, call_style)
        if message.role == "assistant":
            call_ids = [call.call_id for call in message.tool_calls if call.call_id is not None]
        elif message.role == "tool" and call_ids:
            # A result carries no id of its own: results answer the calls of the turn before in their order.
            entry["tool_call_id"] = call_ids.pop(0)
        dialogue.append(entry)
    return dialogue


def _hidden(message: Message, escaper: Escaper) -> Message:
    is_answer = message.role == "assistant"
    return Message(
        role=message.role,
        content=escaper.hide(message.content, is_answer=is_answer),
        reasoning=escaper.hide(message.reasoning, is_answer=is_answer),
        tool_calls=tuple(_hidden_call(call, escaper) for call in message.tool_calls),
        name=escaper.hide(message.name),
        weight=message.weight,
    )


def _hidden_call(call: ToolCall, escaper: Escaper) -> ToolCall:
    arguments = escaper.hide(call.arguments)
    return ToolCall(name=escaper.hide(call.name), arguments=arguments, call_id=escaper.hide(call.call_id))


def _to_dict(message: Message, call_style: CallStyle) -> dict[str, Any]:
    entry: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning is not None:
        # transformers offers both names to templates: gpt-oss reads `thinking`.
        entry["reasoning_content"] = entry["thinking"] = message.reasoning
    if message.name is not None:
        entry["name"] = message.name
    if message.tool_calls:
        entry["content"] = entry["content"] or call_style.empty_content
        entry["tool_calls"] = [_to_call(call, call_style.takes_objects) for call in message.tool_calls]
    return entry


def _to_call(call: ToolCall, takes_objects: bool) -> dict[str, Any]:
    arguments = arguments_object(call) if takes_objects else arguments_text(call)
    entry: dict[str, Any] = {"type": "function", "function": {"name": call.name, "arguments": arguments}}
    if call.call_id is not None:
        entry["id"] = call.call_id
    return entry


def arguments_object(call: ToolCall) -> Mapping[str, Any]:
    """Give the arguments of a call as an object, parsing the source's JSON string where it is one."""
    if not isinstance(call.arguments, str):
        return call.arguments
    try:
        value = json.loads(call.arguments)
    except json.JSONDecodeError as error:
        raise _malformed(call, str(error)) from error
    if not isinstance(value, dict):
        raise _malformed(call, f"it is a {type(value).__name__}")
    return value


def arguments_text(call: ToolCall) -> str:
    """Give the arguments of a call as JSON text."""
    return call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments, ensure_ascii=False)


def _malformed(call: ToolCall, reason: str) -> Exception:
    return refusal(
        "template.arguments_malformed",
        f"The arguments of the call of {call.name!r} are no JSON object: {reason}.",
        'Write them as an object, e.g. {"city": "Paris"}.',
    )


def any_of(tokens: Sequence[str]) -> re.Pattern[str]:
    """Give a pattern of these texts, the longest first; of none, one that matches nothing."""
    longest_first = sorted((token for token in tokens if token.strip()), key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
