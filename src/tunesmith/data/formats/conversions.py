# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The wordings by which labelled rows become prompts, from conversions.yaml."""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import yaml

from tunesmith.core.types import Message
from tunesmith.data.formats.base import Columns, Row


@cache
def wording(name: str) -> Mapping[str, Any]:
    """Give the wording of one conversion."""
    text = resources.files("tunesmith.data.formats").joinpath("conversions.yaml").read_text(encoding="utf-8")
    table: Mapping[str, Mapping[str, Any]] = yaml.safe_load(text)
    return table[name]


def asked(row: Row, columns: Columns, system: str, question: str) -> list[Message]:
    """Make the turns that ask: the row's own system prompt or that of the conversion, and the question."""
    own = columns.text(row, "system")
    return [Message(role="system", content=own or system), Message(role="user", content=question)]
