# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Short ways to read one row in a format, for the tests of formats."""

from collections.abc import Mapping
from typing import Any

import pytest

from tunesmith.core.types import Conversation, Example, RowRef
from tunesmith.data.formats.base import Row, RowError, formats
from tunesmith.data.recognition import columns_of
from tunesmith.data.sets import DataSet


def read(
    name: str,
    values: Mapping[str, Any],
    *,
    columns: Mapping[str, str | None] | None = None,
    tags: Mapping[str, str] | None = None,
    ranking: bool = False,
) -> Example:
    """Read one row in a named format with some columns and tags given."""
    data_set = DataSet(name="d", files=(), formatting=name, columns=columns or {}, tags=tags or {}, ranking=ranking)
    row = Row(source=RowRef(dataset="d", file="f", row=0), values=values)
    return formats.get(name)(row, columns_of(data_set, name))


def conversation(example: Example) -> Conversation:
    """Give the conversation of an example that has one."""
    assert example.conversation is not None
    return example.conversation


def turns(example: Example) -> list[tuple[str, str]]:
    """Give (role, content) of every message."""
    return [(message.role, message.content) for message in conversation(example).messages]


def refused(name: str, values: Mapping[str, Any], **given: Any) -> RowError:
    """Read a row that must be refused, and give the error."""
    with pytest.raises(RowError) as caught:
        read(name, values, **given)
    return caught.value
