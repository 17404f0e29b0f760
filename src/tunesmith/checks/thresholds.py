# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The numbers that rules compare with, read from `thresholds.yaml`, where each has its reason."""

from functools import cache
from importlib import resources

import yaml


@cache
def thresholds() -> dict[str, float]:
    """Read name → value."""
    return {name: float(entry["value"]) for name, entry in threshold_table().items()}


@cache
def threshold_table() -> dict[str, dict[str, float | str]]:
    """Read name → {value, reason}."""
    text = resources.files("tunesmith.checks").joinpath("thresholds.yaml").read_text(encoding="utf-8")
    table: dict[str, dict[str, float | str]] = yaml.safe_load(text)
    return table
