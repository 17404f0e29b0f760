# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Which model is loaded, and how."""

from typing import ClassVar, Literal

from pydantic import Field

from tunesmith.config.section import Section


class ModelSection(Section):
    """Model, adapters, number format and attention."""

    section: ClassVar[str] = "model"

    model_name_or_path: str | None = Field(None, description="Folder of the model, or the name of an embedded one.")
    adapter_name_or_path: tuple[str, ...] = Field(
        (), description="Adapter folders: all but the last are merged, the last is used or trained on."
    )
    cache_dir: str | None = Field(None, description="Folder for converted embedded models; unset: the user's cache.")
    model_revision: str = Field("main", description="Branch, tag or commit of a model from a hub.")
    use_fast_tokenizer: bool = Field(True, description="Use the fast tokenizer where the model has one.")
    trust_remote_code: bool = Field(
        False,
        description="Accepted for compatibility: silent where the model folder has no code, no consent by itself.",
    )
    infer_dtype: Literal["auto", "float16", "bfloat16", "float32"] = Field(
        "auto", description="Number format of the weights in chat and export; auto: the model's own."
    )
    flash_attn: Literal["auto", "disabled", "sdpa"] = Field(
        "auto", description="Attention implementation: auto and sdpa use PyTorch's, disabled the plain one."
    )
    low_cpu_mem_usage: bool = Field(True, description="Load the weights without a second copy in memory.")
    disable_gradient_checkpointing: bool = Field(
        False, description="Keep all activations in memory instead of computing them twice."
    )
    use_reentrant_gc: bool = Field(True, description="Use PyTorch's reentrant form of gradient checkpointing.")
