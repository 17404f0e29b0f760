# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Which rows are read, how long they may be, and how they are split and packed."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from tunesmith.config.section import Section


class DataSection(Section):
    """Data sets, lengths, split, packing and preparation."""

    section: ClassVar[str] = "data"

    dataset: tuple[str, ...] = Field((), description="Training data: names from dataset_info.json, or file paths.")
    eval_dataset: tuple[str, ...] = Field((), description="Evaluation data: names or file paths.")
    dataset_dir: str | dict[str, Any] = Field("data", description="Folder that holds dataset_info.json.")
    cutoff_len: int = Field(2048, ge=1, description="Longest row in tokens.")
    length_policy: Literal["refuse", "drop", "truncate_prompt", "split", "ratio"] = Field(
        "truncate_prompt",
        description="What happens to longer rows; only ratio, LLaMA-Factory's rule, cuts answers too.",
    )
    max_row_loss: float = Field(
        0.001, ge=0, le=1, description="Share of rows that may be lost (dropped, broken, answer cut) before refusing."
    )
    val_size: float = Field(0.0, ge=0, description="Evaluation rows taken from dataset: a share below 1, else a count.")
    max_samples: int | None = Field(None, ge=1, description="At most this many rows of each data set.")
    packing: bool | None = Field(None, description="Put several rows into one sequence; unset: true for stage pt.")
    neat_packing: bool = Field(False, description="Packing in which also the texts of stage pt never see each other.")
    near_duplicate_threshold: float | None = Field(
        0.8, ge=0, le=1, description="Similarity from which two rows count as near-duplicates; 0: not looked for."
    )
    protected_dataset: tuple[str, ...] = Field(
        (), description="Test questions that must not be trained on: names from dataset_info.json, or file paths."
    )
    identifier_pattern: str | None = Field(
        None, description="Regular expression of identifiers that an answer may only take from its prompt."
    )
