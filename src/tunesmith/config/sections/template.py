# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""How conversations become tokens, and which of them are trained."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from tunesmith.config.section import Section


class TemplateSection(Section):
    """Chat template, system prompt, and the rule for supervised tokens."""

    section: ClassVar[str] = "template"

    template: str | None = Field(None, description="Name of a chat template; unset: the model's own.")
    default_system: str | None = Field(None, description="System prompt of conversations that bring none.")
    enable_thinking: bool | None = Field(True, description="Whether a reasoning model thinks before it answers.")
    preserve_thinking: bool = Field(False, description="Keep the thoughts of earlier answers.")
    template_kwargs: dict[str, Any] | None = Field(
        None, description="Further variables of the template, e.g. {reasoning_effort: low}."
    )
    reasoning_policy: Literal["keep", "strip_history", "mask_empty", "never_train_injected"] | None = Field(
        None, description="What becomes of thoughts in training; unset: what the template renders."
    )
    train_on_prompt: bool = Field(False, description="Train on the prompt's tokens too.")
    mask_history: bool = Field(False, description="Train on the last answer of a conversation only.")
    loss_scale: str | None = Field(None, description="Weights of turns and parts of answers, e.g. last_round+hermes.")
    tool_format: str | None = Field(
        None, description="How tools are written into texts; unset: as the template or its catalog entry says."
    )
    special_tokens_in_content: Literal["escape", "error", "allow"] = Field(
        "escape", description="What becomes of text in messages that reads like a special token."
    )
    allow_other_template: bool = Field(
        False, description="Serve a trained model with another template than it was trained with."
    )
