# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Which model types read packed rows, and why the others do not, from families.yaml."""

from importlib import resources
from typing import Any

import yaml

_TABLE: dict[str, Any] = yaml.safe_load(
    resources.files("tunesmith.models.attention").joinpath("families.yaml").read_text(encoding="utf-8")
)

FOREST_TYPES: frozenset[str] = frozenset(_TABLE["packed"])
PADDED_TYPES: dict[str, str] = {name: reason for reason, names in _TABLE["padded"].items() for name in names}


def why_padded(model_type: str) -> str:
    """Say why rows of a model type that is not in FOREST_TYPES are padded."""
    reason = PADDED_TYPES.get(model_type)
    if reason is None:
        return f"packing has not been tried with models of type {model_type}"
    return f"models of type {model_type} {reason}"
