# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Images, video and audio of a row, in the order of their placeholders `<image>`, `<video>` and `<audio>`.

A medium is {type, source}: a path, an address or a data URI; video given as pictures is {type, frames} with JSON text.
Nothing is opened here.
"""

import base64
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tunesmith.core.types import Message
from tunesmith.data.formats.base import MEDIA_KEYS, Columns, Row, RowError, as_text
from tunesmith.data.formats.values import parse_json, shown

Medium = Mapping[str, str]

PLACEHOLDER = re.compile("<(image|video|audio)>")
TYPE_OF_KEY: Mapping[str, str] = {"images": "image", "videos": "video", "audios": "audio"}


def media_of(
    row: Row, columns: Columns, messages: Iterable[Message], inline: Sequence[Medium] = ()
) -> tuple[Medium, ...]:
    """Give the media of columns and of content blocks (`inline`) in the order of their placeholders."""
    found = column_media(row, columns)
    if not found and not inline:
        return ()
    _refuse_both(found, inline)
    found = [*found, *inline]
    placeholders = [name for message in messages for name in PLACEHOLDER.findall(message.content)]
    _check_counts(Counter(placeholders), Counter(medium["type"] for medium in found))
    waiting = {name: iter([medium for medium in found if medium["type"] == name]) for name in TYPE_OF_KEY.values()}
    return tuple(next(waiting[name]) for name in placeholders)


def column_media(row: Row, columns: Columns) -> list[Medium]:
    """Read the media columns of a row."""
    found: list[Medium] = []
    for key in MEDIA_KEYS:
        value = columns.optional(row, key)
        if value is None and columns.names[key] == key:
            value = row.values.get(TYPE_OF_KEY[key])  # `image` beside `images`, as some sets have it
        if value is not None and value != "":
            found.extend(
                read_medium(TYPE_OF_KEY[key], item) for item in _as_list(value, f"column {columns.names[key]!r}")
            )
    return found


def refuse_unplaced(media: Sequence[Medium]) -> None:
    """Refuse media of messages that no stage could be given: those of rejected, near and far texts."""
    if media:
        raise RowError(
            "data.media_unsupported",
            f"A rejected, positive or negative text has {len(media)} media of its own, which cannot be read yet.",
            "Use text rows, or remove the media.",
        )


def read_medium(kind: str, value: Any) -> Medium:
    """Read one medium: a path, address or data URI, an object that holds one or bytes, or the pictures of a video."""
    if isinstance(value, list) and kind == "video":
        return {"type": kind, "frames": json.dumps([_source_of(kind, item) for item in value])}
    return {"type": kind, "source": _source_of(kind, value)}


def _source_of(kind: str, value: Any) -> str:
    if isinstance(value, str) and value:
        return as_text(value, f"the source of {kind} data")
    if isinstance(value, Mapping):
        if isinstance(value.get("bytes"), bytes):
            return _data_uri(base64.b64encode(value["bytes"]).decode("ascii"))
        if isinstance(value.get("data"), str):
            return _data_uri(value["data"], str(value.get("media_type", "")))
        named = next((value[key] for key in ("path", "url", "source", "file") if value.get(key)), None)
        if isinstance(named, str):
            return as_text(named, f"the source of {kind} data")
    raise RowError(
        "data.type_wrong",
        f"The source of {kind} data must be a path, an address or an object with one, found {shown(value)}.",
        "Write the path of the file.",
    )


def _data_uri(encoded: str, media_type: str = "") -> str:
    return encoded if encoded.startswith("data:") else f"data:{media_type};base64,{encoded}"


def _as_list(value: Any, what: str) -> list[Any]:
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = parse_json(value, what, "data.type_wrong")
    return value if isinstance(value, list) else [value]


def _refuse_both(columns: Sequence[Medium], inline: Sequence[Medium]) -> None:
    both = {medium["type"] for medium in columns} & {medium["type"] for medium in inline}
    if both:
        raise RowError(
            "data.media_count_wrong",
            f"The row brings {min(both)} data in a column and in its messages, so their order is unknown.",
            "Name all media in the column, or all in the messages.",
        )


def _check_counts(placeholders: Mapping[str, int], media: Mapping[str, int]) -> None:
    for kind in TYPE_OF_KEY.values():
        if placeholders.get(kind, 0) != media.get(kind, 0):
            raise RowError(
                "data.media_count_wrong",
                f"The row has {media.get(kind, 0)} media of type {kind} and {placeholders.get(kind, 0)} <{kind}> "
                "placeholders.",
                f"Write one <{kind}> into the messages for each, where the model shall see it.",
            )
