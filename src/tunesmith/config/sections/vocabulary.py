# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What a run changes about the model it loads: tokens that are added, and positions beyond those it was made for."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from tunesmith.config.section import Section

Start = Literal["noise_init", "desc_init", "desc_init_w_noise"]


class VocabularySection(Section):
    """New tokens: their rows of embedding and head are trained and stored with an adapter."""

    section: ClassVar[str] = "vocabulary"

    add_tokens: tuple[str, ...] | None = Field(
        None, description="New tokens, or .txt files of them; their embeddings are trained, also beside an adapter."
    )
    add_special_tokens: tuple[str, ...] | None = Field(
        None, description="New special tokens, which decoded answers leave out; as add_tokens in all else."
    )
    new_special_tokens_config: str | None = Field(
        None, description="YAML file of new special tokens and their descriptions; replaces add_special_tokens."
    )
    init_special_tokens: Start = Field(
        "noise_init", description="Start of new embeddings: the mean with noise, or the mean of a description's tokens."
    )
    resize_vocab: bool = Field(
        False, description="Give tokens of the tokenizer that the model has no embedding for one, which is trained."
    )


class PositionSection(Section):
    """Longer contexts by other rotary positions."""

    section: ClassVar[str] = "positions"

    rope_scaling: Literal["linear", "dynamic", "yarn", "llama3"] | dict[str, Any] | None = Field(
        None, description="Scale rotary positions up to cutoff_len: a method's name, or transformers' own mapping."
    )
    max_model_len: int | None = Field(
        None,
        ge=1,
        description="Length that rope_scaling reaches; unset: cutoff_len in training, else twice the model's.",
    )
