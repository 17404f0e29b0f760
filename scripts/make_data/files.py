# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""All bundled files by name, as text; a test compares them with what lies in `data/`."""

from pathlib import Path

from scripts.make_data.orders import make_orders

WORDS = Path(__file__).resolve().parent


def make_all() -> dict[str, str]:
    """Give file name → content of every generated file of `data/`."""
    return make_orders(WORDS)
