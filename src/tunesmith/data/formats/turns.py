# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Messages in any of the usual notations: role and content or from and value, with all names of roles in use.

Used where a row holds several conversations, and for ms-swift's rows, which mix notations.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tunesmith.core.types import Message, Role
from tunesmith.data.formats.content import read_blocks
from tunesmith.data.formats.dialogue import read_weight, unknown_role
from tunesmith.data.formats.media import Medium
from tunesmith.data.formats.openai import to_message
from tunesmith.data.formats.tool_calls import message_of_calls
from tunesmith.data.formats.values import read_object_list

ROLE_WORDS: Mapping[str, Role] = {
    **{"system": "system", "developer": "system"},
    **{"user": "user", "human": "user"},
    **{"assistant": "assistant", "gpt": "assistant", "bot": "assistant"},
    **{"tool": "tool", "tool_response": "tool", "function_response": "tool", "function": "tool"},
    **{"observation": "tool", "observations": "tool"},
}
CALL_WORDS = ("tool_call", "function_call")


def read_turns(value: Any, what: str, media: list[Medium]) -> list[Message]:
    """Read a list of messages; neighbouring assistant turns (text, calls) become one."""
    items = read_object_list(value, what)
    if items and not any(_word_of(item) for item in items) and _is_pair_form(items):
        return [turn for item in items for turn in _read_pair_form(item, media)]
    return merge_answers(turn for item in items for turn in _read_turn(item, media))


def _word_of(item: Mapping[str, Any]) -> Any:
    return item.get("role", item.get("from"))


def _read_turn(item: Mapping[str, Any], media: list[Medium]) -> list[Message]:
    word = _word_of(item)
    content = read_blocks(item.get("content", item.get("value")), media, f"the content of a {word!r} turn")
    if word in CALL_WORDS:
        return [message_of_calls(content.whole_text, read_weight(item, "assistant"))]
    role = ROLE_WORDS.get(word) if isinstance(word, str) else None
    if role is None:
        raise unknown_role(word, [*ROLE_WORDS, *CALL_WORDS])
    results = [Message(role="tool", content=text) for text in content.results]
    message = to_message(item, role, content)
    return results if results and not message.content else [*results, message]


def _is_pair_form(items: Sequence[Mapping[str, Any]]) -> bool:
    return any(any(word in item for word in ROLE_WORDS) for item in items)


def _read_pair_form(item: Mapping[str, Any], media: list[Medium]) -> list[Message]:
    """Read {human: …, assistant: …}: a question with its answer in one object."""
    words = sorted((word for word in item if word in ROLE_WORDS), key=lambda word: ROLE_WORDS[word] == "assistant")
    return [
        Message(role=ROLE_WORDS[word], content=read_blocks(item[word], media, f"the {word!r} of a turn").whole_text)
        for word in words
    ]


def merge_answers(messages: Iterable[Message]) -> list[Message]:
    """Put neighbouring assistant turns together: ms-swift writes text and parallel calls as turns of their own."""
    merged: list[Message] = []
    for message in messages:
        if merged and message.role == merged[-1].role == "assistant" and merged[-1].weight == message.weight:
            merged[-1] = _joined(merged[-1], message)
        else:
            merged.append(message)
    return merged


def _joined(first: Message, second: Message) -> Message:
    thoughts = [thought for thought in (first.reasoning, second.reasoning) if thought is not None]
    return replace(
        first,
        content=first.content + second.content,
        reasoning="\n".join(thoughts) if thoughts else None,
        tool_calls=(*first.tool_calls, *second.tool_calls),
    )
