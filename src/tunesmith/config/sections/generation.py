# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""How answers are generated in chat and in the samples after training."""

from typing import ClassVar

from pydantic import Field

from tunesmith.config.section import Section


class GenerationSection(Section):
    """Sampling of answers."""

    section: ClassVar[str] = "generation"

    do_sample: bool = Field(True, description="Sample; false: always take the most likely token.")
    temperature: float = Field(0.95, gt=0, description="Sampling temperature.")
    top_p: float = Field(0.7, gt=0, le=1, description="Sample from the most likely tokens with this total probability.")
    top_k: int = Field(50, ge=0, description="Sample from this many most likely tokens; 0: all.")
    max_new_tokens: int = Field(1024, ge=-1, description="Longest answer in tokens; 0 or -1: max_length decides.")
    max_length: int = Field(1024, ge=1, description="Longest prompt and answer together; used without max_new_tokens.")
    repetition_penalty: float = Field(1.0, gt=0, description="Above 1: tokens already seen become less likely.")
    skip_special_tokens: bool = Field(True, description="Leave special tokens out of the shown text.")
