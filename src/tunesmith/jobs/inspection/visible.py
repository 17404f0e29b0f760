# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Text of rows made safe and visible: control characters, marks of direction and invisible spaces are spelled out.

Otherwise a row could move the cursor of a terminal, or read differently from what it is.
"""

import re

LINE_BREAK = "↵"

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufdd0-\ufdef\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
# Joiners shape letters and pictures of many scripts.
_KEPT = frozenset("\u200c\u200d")


def visible(text: str) -> str:
    """Spell out what cannot be seen; line breaks and tabs stay."""
    return _HIDDEN.sub(lambda match: match[0] if match[0] in _KEPT else f"⟨U+{ord(match[0]):04X}⟩", text)


def shortened(text: str, most: int) -> str:
    """Keep the beginning and the end of a long text."""
    if len(text) <= most:
        return text
    half = (most - 3) // 2
    return f"{text[:half]} … {text[-half:]}"
