# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Media that a row names: columns of images, videos and audios, content blocks of messages, and <img> tags in text.

Only paths are looked for; data URIs, addresses and embedded bytes are not opened.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from tunesmith.data.conversion.cells import from_cells

MEDIA_COLUMNS = ("image", "images", "video", "videos", "audio", "audios")

_BLOCK_TYPES = ("image", "image_url", "video", "video_url", "audio", "audio_url", "input_audio")
_PATH_KEYS = ("path", "url", "value")
_TAG = re.compile(r"<(img|video|audio)>([^<>]+)</\1>")
# A scheme has two letters at least: one letter is a drive of Windows.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
# Longer text is no path but the picture itself, as base64.
_MAX_PATH = 1024


class MediaFiles:
    """Files that rows name, looked for in one folder."""

    def __init__(self, folder: Path) -> None:
        self.num_checked = 0
        self._folder = folder
        self._exists = lru_cache(maxsize=1 << 16)(self._look)

    def missing_of(self, values: Mapping[str, Any]) -> list[str]:
        """Count the paths of a row and give those that are no files."""
        paths = [path for path in media_of(values) if _is_path(path)]
        self.num_checked += len(paths)
        return [path for path in paths if not self._exists(path)]

    def _look(self, path: str) -> bool:
        try:
            return (self._folder / path.removeprefix("file://")).is_file()
        except (OSError, ValueError):  # a name that no file can have
            return False


def media_of(values: Mapping[str, Any]) -> Iterator[str]:
    """Give every path or address of media in a row."""
    for name, value in values.items():
        parsed = _parsed(name, value)
        if name in MEDIA_COLUMNS:
            yield from _references(parsed)
        elif isinstance(parsed, list):
            for message in parsed:
                if isinstance(message, Mapping):
                    yield from _of_message(message)
        elif isinstance(parsed, str):
            yield from _of_text(parsed)


def _parsed(name: str, value: Any) -> Any:
    """Read lists and objects in cells of text tables."""
    if isinstance(value, str) and value.startswith(("[", "{")):
        try:
            return from_cells({name: value}, {name: "json"})[name]
        except ValueError:
            return value
    return value


def _of_message(message: Mapping[str, Any]) -> Iterator[str]:
    for content in message.values():
        if isinstance(content, str):
            yield from _of_text(content)
        for block in content if isinstance(content, list) else ():
            kind = block.get("type") if isinstance(block, Mapping) else None
            if kind in _BLOCK_TYPES:
                yield from _references(block.get(kind, {key: block[key] for key in _PATH_KEYS if key in block}))


def _of_text(text: str) -> Iterator[str]:
    if "</" in text:
        yield from (match[2] for match in _TAG.finditer(text))


def _references(value: Any) -> Iterator[str]:
    """Take a path, a list of them, or an object that holds one; an object with bytes needs no file."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)
    elif isinstance(value, Mapping) and not value.get("bytes"):
        yield from (value[key] for key in _PATH_KEYS if isinstance(value.get(key), str))


def _is_path(text: str) -> bool:
    is_address = _ADDRESS.match(text) is not None and not text.startswith("file://")
    return bool(text) and not is_address and len(text) <= _MAX_PATH
