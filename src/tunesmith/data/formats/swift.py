# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""ms-swift's rows: query and response or messages, with rejected, positive or negative ones beside them.

Media without a placeholder are put before the first user turn, and `<img>path</img>` in a text is a medium, as there.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tunesmith.core.types import Example, Message
from tunesmith.data.formats.alpaca import read_history
from tunesmith.data.formats.base import MEDIA_KEYS, Columns, Row, RowError, as_text, formats, missing_column
from tunesmith.data.formats.contrast import contrast_example
from tunesmith.data.formats.dialogue import chat_example, preference_example
from tunesmith.data.formats.media import PLACEHOLDER, Medium, column_media, refuse_unplaced
from tunesmith.data.formats.pair import pair_example
from tunesmith.data.formats.turns import read_turns

_KEYS = (
    *("messages", "prompt", "query", "response", "history", "channel", "objects"),
    *("rejected_messages", "rejected_response", "positive_messages", "negative_messages"),
)
_OTHERS_MEDIA = tuple(f"{side}_{key}" for side in ("rejected", "positive", "negative") for key in MEDIA_KEYS)
_IMAGE_IN_TEXT = re.compile(r"<img>(.+?)</img>", re.DOTALL)


@formats.register("swift")
def read_swift(row: Row, columns: Columns) -> Example:
    """Read one row of ms-swift."""
    refuse_unplaced([{"type": name} for name in _OTHERS_MEDIA if row.values.get(name)])
    media: list[Medium] = []
    messages = _read_main(row, columns, media)
    if len(messages) == 1 and messages[0].role == "assistant" and not media:
        return _text_example(row, columns, messages[0])
    messages = _with_placeholders(messages, [*column_media(row, columns), *media])
    example = _example_of(row, columns, messages, media)
    channel, objects = columns.optional(row, "channel"), columns.optional(row, "objects")
    return replace(
        example,
        channel=None if channel is None else as_text(channel, f"column {columns.names['channel']!r}"),
        objects=_read_objects(objects),
    )


def _read_main(row: Row, columns: Columns, media: list[Medium]) -> list[Message]:
    """Read the conversation: messages, or history, query and response."""
    listed = columns.optional(row, "messages")
    if listed is not None:
        what = f"column {columns.names['messages']!r}"
        return [_take_images(turn, media) for turn in read_turns(listed, what, media)]
    messages = read_history(columns.optional(row, "history"))
    asked = [text for key in ("prompt", "query") if (text := columns.text(row, key))]
    if asked:
        messages.append(Message(role="user", content="\n".join(asked)))
    if columns.optional(row, "response") is not None:
        messages.append(Message(role="assistant", content=columns.text(row, "response")))
    if not messages:
        raise missing_column(row, columns.names["prompt"] or "messages", "prompt")
    return [_take_images(turn, media) for turn in messages]


def _text_example(row: Row, columns: Columns, answer: Message) -> Example:
    """Take a lone answer as a text: ms-swift's layout for pre-training."""
    return Example(kind="text", source=row.source, text=answer.content, fields=columns.further(row, _KEYS))


def _example_of(row: Row, columns: Columns, messages: list[Message], media: Sequence[Medium]) -> Example:
    rejected_messages = columns.optional(row, "rejected_messages")
    if rejected_messages is not None:
        others = _conversations(rejected_messages, f"column {columns.names['rejected_messages']!r}")
        others = [_with_system_of(messages, other) for other in others]
        return pair_example(row, columns, messages, others, read=_KEYS, inline=media)
    rejected = columns.optional(row, "rejected_response")
    if rejected is not None:
        return _answer_pair(row, columns, messages, rejected, media)
    if columns.optional(row, "positive_messages") is not None or columns.optional(row, "negative_messages") is not None:
        sides = _contrasted(row, columns, "positive_messages"), _contrasted(row, columns, "negative_messages")
        return contrast_example(row, columns, messages, sides=sides, read=_KEYS, inline=media)
    return chat_example(row, columns, messages, read=_KEYS, inline=media)


def _with_system_of(messages: Sequence[Message], other: list[Message]) -> list[Message]:
    """Give a rejected conversation the system turn of the chosen one where it has none of its own."""
    needs_system = messages[0].role == "system" and other and other[0].role != "system"
    return [messages[0], *other] if needs_system else other


def _answer_pair(
    row: Row, columns: Columns, messages: list[Message], rejected: Any, media: Sequence[Medium]
) -> Example:
    """Compare what follows the last user turn with a text, several texts or a list of messages."""
    last = max((place for place, turn in enumerate(messages) if turn.role == "user"), default=-1)
    if last < 0 or last == len(messages) - 1:
        raise RowError(
            "data.answer_missing",
            "The row has a rejected_response and no answer of its own after the last user turn.",
            "Add the better answer, or remove the row.",
        )
    prompt = chat_example(row, columns, messages[: last + 1], read=_KEYS, inline=media)
    return preference_example(prompt, chosen=messages[last + 1 :], rejected=_rejected_turns(rejected, columns))


def _rejected_turns(value: Any, columns: Columns) -> list[list[Message]]:
    what = f"column {columns.names['rejected_response']!r}"
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return [[Message(role="assistant", content=as_text(item, what))] for item in value]
    if isinstance(value, list):
        return _conversations(value, what)
    return [[Message(role="assistant", content=as_text(value, what))]]


def _conversations(value: Any, what: str) -> list[list[Message]]:
    """Read one list of messages, or a list of several; media of their own are refused."""
    are_several = isinstance(value, list) and value and all(isinstance(item, list) for item in value)
    media: list[Medium] = []
    conversations = [read_turns(item, what, media) for item in (value if are_several else [value])]
    refuse_unplaced(media)
    return conversations


def _contrasted(row: Row, columns: Columns, key: str) -> list[list[Message]]:
    value = columns.optional(row, key)
    return [] if value is None or value == [] else _conversations(value, f"column {columns.names[key]!r}")


def _read_objects(value: Any) -> Mapping[str, Any] | None:
    if value is None or isinstance(value, Mapping):
        return value
    raise RowError(
        "data.type_wrong",
        "The objects of a row must be an object with ref and bbox.",
        'Write them as {"ref": […], "bbox": [[…], …]}.',
    )


def _take_images(message: Message, media: list[Medium]) -> Message:
    """Replace `<img>path</img>` by a placeholder and note the path."""
    if "<img>" not in message.content:
        return message
    media.extend({"type": "image", "source": path} for path in _IMAGE_IN_TEXT.findall(message.content))
    return replace(message, content=_IMAGE_IN_TEXT.sub("<image>", message.content))


def _with_placeholders(messages: list[Message], media: Sequence[Medium]) -> list[Message]:
    """Add the placeholders that are missing, all before the text of the first user turn."""
    first = next((place for place, turn in enumerate(messages) if turn.role == "user"), None)
    if not media or first is None:
        return messages
    written = [name for turn in messages for name in PLACEHOLDER.findall(turn.content)]
    added = "".join(
        f"<{kind}>" * (sum(medium["type"] == kind for medium in media) - written.count(kind))
        for kind in ("image", "video", "audio")
    )
    turn = messages[first]
    return [*messages[:first], replace(turn, content=added + turn.content), *messages[first + 1 :]]
