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
    dataset_dir: str | dict[str, Any] = Field(
        "data",
        description="Folder of dataset_info.json; ONLINE: names are hub ids; REMOTE:id: a repository that has it.",
    )
    formatting: str | None = Field(
        None, description="Format of data sets that no dataset_info.json describes; unset: recognised."
    )
    cutoff_len: int = Field(2048, ge=1, description="Longest row in tokens.")
    length_policy: Literal["refuse", "drop", "truncate_prompt", "split", "ratio"] = Field(
        "truncate_prompt",
        description="What happens to longer rows; only ratio, LLaMA-Factory's rule, cuts answers too.",
    )
    max_row_loss: float = Field(
        0.001, ge=0, le=1, description="Share of rows that may be lost (dropped, broken, answer cut) before refusing."
    )
    val_size: float = Field(0.0, ge=0, description="Evaluation rows taken from dataset: a share below 1, else a count.")
    val_split_by: Literal["group", "near_duplicates", "random"] = Field(
        "group",
        description="Rows that val_size keeps together: of one prompt or long answer, near-duplicates too, or none.",
    )
    eval_on_each_dataset: bool = Field(False, description="Report each set of eval_dataset by its name.")
    mix_strategy: Literal["concat", "interleave_under", "interleave_over", "interleave_once"] = Field(
        "concat",
        description="Sets one after the other; or in turns until the first ends, all have ended, or each row came.",
    )
    interleave_probs: tuple[float, ...] | None = Field(
        None, description="How often each set is drawn when sets are interleaved: shares of any sum; unset: in turns."
    )
    streaming: bool = Field(False, description="Read training data while training, for data of any size.")
    buffer_size: int = Field(16384, ge=1, description="Rows of a stream that are shuffled together.")
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
    tokenized_path: str | None = Field(
        None, description="Folder for prepared data, instead of the user's cache; found again by every run on it."
    )
    overwrite_cache: bool = Field(False, description="Prepare all data anew, also where it was prepared before.")
    preprocessing_num_workers: int | None = Field(
        None, ge=0, description="Most processes that prepare data, when they pay; unset: as many as there are cores."
    )
    preprocessing_batch_size: int = Field(
        1000, ge=1, le=100_000, description="Rows that a process prepares at a time, and that are kept together."
    )
    data_shared_file_system: bool = Field(
        False, description="All machines see the same folders: only one of them prepares the data."
    )
