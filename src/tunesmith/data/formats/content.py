# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Contents of messages: text, or typed blocks of text, reasoning, tool calls, tool results and media.

Text blocks are joined; a media block leaves its placeholder in the text and its source in `media`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tunesmith.core.types import ToolCall
from tunesmith.data.formats.base import RowError, as_text, describe
from tunesmith.data.formats.media import Medium, read_medium
from tunesmith.data.formats.tool_calls import read_call
from tunesmith.data.formats.values import parse_json

_MEDIA_BLOCKS: Mapping[str, str] = {
    "image": "image",
    "image_url": "image",
    "input_image": "image",
    "video": "video",
    "video_url": "video",
    "audio": "audio",
    "audio_url": "audio",
    "input_audio": "audio",
}


@dataclass
class Content:
    """What a content adds up to; `results` are answers of tools that a user turn holds, as Anthropic writes them."""

    media: list[Medium]
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    results: list[str] = field(default_factory=list)

    @property
    def whole_text(self) -> str:
        """All text blocks, joined."""
        return "".join(self.text)


def read_blocks(value: Any, media: list[Medium], what: str = "the content of a message") -> Content:
    """Read a content; media are added to `media` in order. Null is empty."""
    content = Content(media=media)
    if isinstance(value, list):
        for block in value:
            _read_block(block, content)
    elif value is not None:
        content.text.append(as_text(value, what))
    return content


def _read_block(block: Any, content: Content) -> None:
    if not isinstance(block, Mapping):
        raise RowError(
            "data.type_wrong",
            f"A content block must be an object, found {describe(block) if not isinstance(block, str) else 'text'}.",
            'Write it as {"type": "text", "text": …}.',
        )
    kind = block.get("type")
    if isinstance(kind, str) and kind in _MEDIA_BLOCKS:
        _read_media_block(block, kind, content)
        return
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise RowError(
            "data.block_unsupported",
            f"A content block has the type {kind!r}; known: {', '.join([*_READERS, *_MEDIA_BLOCKS])}.",
            "Correct the type, or remove the block or the row.",
        )
    reader(block, content)


def _payload(block: Mapping[str, Any]) -> Any:
    """Find what a block holds: {type, text}, {type, value} or {type, <type>}."""
    return block.get("text", block.get("value", block.get(str(block.get("type")))))


def _read_text(block: Mapping[str, Any], content: Content) -> None:
    content.text.append(as_text(_payload(block), "a text block"))


def _read_reasoning(block: Mapping[str, Any], content: Content) -> None:
    content.reasoning.append(as_text(_payload(block), f"a {block['type']} block"))


def _read_call_block(block: Mapping[str, Any], content: Content) -> None:
    value = _payload(block)
    content.calls.append(
        read_call(parse_json(value, "a tool call", "data.tool_call_malformed") if isinstance(value, str) else value)
    )


def _read_use(block: Mapping[str, Any], content: Content) -> None:
    call = {"id": block.get("id"), "name": block.get("name"), "arguments": block.get("input")}
    content.calls.append(read_call(call))


def _read_result(block: Mapping[str, Any], content: Content) -> None:
    content.results.append(read_blocks(block.get("content"), content.media, "a tool result").whole_text)


_READERS: Mapping[str, Callable[[Mapping[str, Any], Content], None]] = {
    "text": _read_text,
    "input_text": _read_text,
    "output_text": _read_text,
    "reasoning": _read_reasoning,
    "thinking": _read_reasoning,
    "tool_call": _read_call_block,
    "tool_use": _read_use,
    "tool_result": _read_result,
}


def _read_media_block(block: Mapping[str, Any], name: str, content: Content) -> None:
    """Leave a placeholder; a block without a source refers to the row's media column."""
    kind = _MEDIA_BLOCKS[name]
    content.text.append(f"<{kind}>")
    keys = (name, kind, f"{kind}_url", "value", "source", "url", "path")
    value = next((block[key] for key in keys if block.get(key)), None)
    if value is not None:
        content.media.append(read_medium(kind, value))
