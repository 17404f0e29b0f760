# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Which model is loaded, and how."""

from typing import ClassVar, Literal

from pydantic import Field

from tunesmith.config.section import Section


class ModelSection(Section):
    """Model, adapters, number format and attention."""

    section: ClassVar[str] = "model"

    model_name_or_path: str | None = Field(
        None, description="The model: its folder, an embedded one's name, or a hub id."
    )
    adapter_name_or_path: tuple[str, ...] = Field(
        (), description="Adapter folders: all but the last are merged, the last is used or trained on."
    )
    cache_dir: str | None = Field(
        None, description="Folder for models that are converted or fetched; unset: the user's cache."
    )
    model_revision: str = Field("main", description="Branch, tag or commit of a model from a hub.")
    trust_remote_code: bool | str = Field(
        False, description="sha256:… allows a folder's code of that hash; true is no consent, and silent without code."
    )
    infer_dtype: Literal["auto", "float16", "bfloat16", "float32"] = Field(
        "auto",
        description="Number format of the weights in chat and export; auto: the model's own, bfloat16 for float32.",
    )
    flash_attn: Literal["auto", "disabled", "sdpa", "fa2", "fa3"] = Field(
        "auto",
        description="Attention: auto (fastest here), sdpa (PyTorch's), fa2, fa3 (FlashAttention), disabled (plain).",
    )
    disable_gradient_checkpointing: bool = Field(
        False, description="Keep all activations in memory instead of computing them twice."
    )
    use_reentrant_gc: bool = Field(
        True, description="Whether checkpointing takes PyTorch's older, reentrant form; unset: it does not."
    )
