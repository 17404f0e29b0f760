# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Base of all configuration sections.

A section is a frozen pydantic model whose fields are flat YAML keys; each key belongs to exactly one section. A part
(tuner, objective, optimizer, …) keeps its section next to its code; the general ones stand in `config/sections/`.
"""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Typed keys of one part. Write fields as `lora_rank: int = Field(8, ge=1, description="…")`.

    `selected_by` names the choices that make the part active, e.g. {"finetuning_type": ("lora",)}: keys of an inactive
    part are reported as having no effect. An empty mapping is always active.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    section: ClassVar[str]
    selected_by: ClassVar[Mapping[str, tuple[str, ...]]] = {}
