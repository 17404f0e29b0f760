# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Finds the system message that a chat template writes where a conversation brings none."""

from datetime import datetime

from tunesmith.core.errors import TunesmithError
from tunesmith.templates.sandbox import CompiledTemplate
from tunesmith.templates.turns import CHANGED

_OTHER = "\ufdd7"


def default_system_of(source: str, date: datetime) -> str | None:
    """Compare renderings with and without a system message; None where the template writes none of its own."""
    user = {"role": "user", "content": _OTHER}
    values = {"tools": None, "documents": None, "add_generation_prompt": False}
    compiled = CompiledTemplate(source, date)
    try:
        given = compiled.render({**values, "messages": [{"role": "system", "content": CHANGED}, user]})
        default = compiled.render({**values, "messages": [user]})
    except TunesmithError:
        return None
    before, found, rest = given.partition(CHANGED)
    between = rest.partition(_OTHER)[0]
    head = default.partition(_OTHER)[0]
    if not found or len(head) < len(before) + len(between) or not (head.startswith(before) and head.endswith(between)):
        return None
    return head[len(before) : len(head) - len(between)] or None
