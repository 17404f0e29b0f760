# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""How conversations become tokens, and which of them are trained."""

from typing import ClassVar

from pydantic import Field

from tunesmith.config.section import Section


class TemplateSection(Section):
    """Chat template, system prompt, and the rule for supervised tokens."""

    section: ClassVar[str] = "template"

    template: str | None = Field(None, description="Name of a chat template; unset: the model's own.")
    default_system: str | None = Field(None, description="System prompt of conversations that bring none.")
    enable_thinking: bool | None = Field(True, description="Whether a reasoning model thinks before it answers.")
    train_on_prompt: bool = Field(False, description="Train on the prompt's tokens too.")
    mask_history: bool = Field(False, description="Train on the last answer of a conversation only.")
