# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The name of a data set as ms-swift's users write it: [hf::|ms::]id, path or described name, [:subset], [#count]."""

import re
from dataclasses import dataclass

from tunesmith.core.errors import TunesmithError, refusal
from tunesmith.core.hubs import Hub

_HUB = re.compile(r"(?P<hub>[A-Za-z]+)::(?P<rest>.*)", re.DOTALL)
_COUNT = re.compile(r"(?P<rest>.*)#(?P<count>[^#/\\]*)", re.DOTALL)
# A drive letter of Windows has a colon too.
_SUBSET = re.compile(r"(?P<base>[A-Za-z]:[\\/][^:]*|(?![A-Za-z]:[\\/])[^:]*):(?P<subset>[^:]*)", re.DOTALL)
_HUBS: dict[str, Hub] = {"hf": "hf", "ms": "ms"}


@dataclass(frozen=True, kw_only=True)
class SetName:
    """The parts of a name; `base` is a described name, a path or the id on a hub."""

    base: str
    hub: Hub | None = None
    subset: str | None = None
    count: int | None = None


def read_set_name(text: str, *, key: str) -> SetName:
    """Take the name of a data set apart."""
    rest, hub, subset, count = text, None, None, None
    if match := _HUB.fullmatch(rest):
        hub, rest = _HUBS.get(match["hub"].lower()), match["rest"]
        if hub is None:
            raise _invalid(text, key, f"{match['hub']}:: is no hub")
    if match := _COUNT.fullmatch(rest):
        rest = match["rest"]
        if not re.fullmatch(r"[1-9][0-9]*", match["count"]):
            raise _invalid(text, key, f"the number of rows is {match['count']!r}")
        count = int(match["count"])
    if match := _SUBSET.fullmatch(rest):
        rest, subset = match["base"], match["subset"]
    if not rest or subset == "":
        raise _invalid(text, key, "a part of it is empty")
    return SetName(base=rest, hub=hub, subset=subset, count=count)


def _invalid(text: str, key: str, reason: str) -> TunesmithError:
    return refusal(
        "data.set_name_invalid",
        f"The data set {text!r} cannot be read as a name: {reason}.",
        "Write a name, a path, HF::id or MS::id; then :subset and #count (a whole number from 1) where you want them.",
        key=key,
        dataset=text,
    )
