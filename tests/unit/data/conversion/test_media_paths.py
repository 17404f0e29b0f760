# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Media that rows name are found in every place they may stand; addresses and embedded bytes are not opened."""

from pathlib import Path
from typing import Any

import pytest

from tunesmith.data.conversion.media_paths import MediaFiles, media_of


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"image": "a.jpg"}, ["a.jpg"]),
        ({"images": ["a.jpg", {"path": "b.jpg", "bytes": None}, {"path": "c.jpg", "bytes": b"x"}]}, ["a.jpg", "b.jpg"]),
        ({"videos": [["1.png", "2.png"]], "audio": {"path": "s.wav"}}, ["1.png", "2.png", "s.wav"]),
        ({"images": '["a.jpg", "b.jpg"]'}, ["a.jpg", "b.jpg"]),
        ({"query": "<img>a.jpg</img><img>b.jpg</img>What?"}, ["a.jpg", "b.jpg"]),
        ({"messages": [{"role": "user", "content": "<audio>s.wav</audio>"}]}, ["s.wav"]),
        ({"messages": [{"content": [{"type": "image", "image": "a.jpg"}, {"type": "text", "text": "x"}]}]}, ["a.jpg"]),
        ({"messages": [{"content": [{"type": "image_url", "image_url": {"url": "a.jpg"}}]}]}, ["a.jpg"]),
        ({"messages": [{"content": [{"type": "video", "value": "v.mp4"}]}]}, ["v.mp4"]),
        ({"messages": '[{"content": [{"type": "image", "path": "a.jpg"}]}]'}, ["a.jpg"]),
        ({"text": "no media at all", "images": None, "n": 3}, []),
    ],
)
def test_media_are_found(values: dict[str, Any], expected: list[str]) -> None:
    assert list(media_of(values)) == expected


def test_only_paths_are_looked_for(tmp_path: Path) -> None:
    (tmp_path / "here.jpg").write_bytes(b"")
    files = MediaFiles(tmp_path)
    named = ["here.jpg", "data:image/png;base64,AAAA", "https://x.test/a.jpg", "A" * 2000, "gone.jpg", "bad\0name"]
    assert files.missing_of({"images": named}) == ["gone.jpg", "bad\0name"]
    assert files.num_checked == 3
    assert files.missing_of({"image": f"file://{tmp_path}/here.jpg"}) == []
