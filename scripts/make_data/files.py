# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""All bundled files by name, as text; a test compares them with what lies in `data/`."""

from pathlib import Path

from scripts.make_data.identity import make_identity
from scripts.make_data.orders import make_orders
from scripts.make_data.preference import make_preference
from scripts.make_data.stories import make_stories

WORDS = Path(__file__).resolve().parent


def make_all() -> dict[str, str]:
    """Give file name → content of every generated file of `data/`."""
    return {**make_orders(WORDS), **make_identity(WORDS), **make_preference(WORDS), **make_stories(WORDS)}
