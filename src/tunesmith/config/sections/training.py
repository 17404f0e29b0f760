# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Optimisation, precision, evaluation, logging and checkpoints: transformers' TrainingArguments by their names."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from tunesmith.config.section import Section

# Rows of a forward pass where none are given, as in transformers: with auto they still make the optimizer step.
DEFAULT_ROWS = 8
Optimizer = Literal[
    "adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop",
    "adamw_torch_4bit", "adamw_torch_8bit",
    "adamw_8bit", "adamw_bnb_8bit", "paged_adamw_8bit", "paged_adamw_32bit", "lion_8bit", "lion_32bit",
    "paged_lion_8bit", "paged_lion_32bit", "ademamix", "ademamix_8bit", "paged_ademamix_8bit", "paged_ademamix_32bit",
    "rmsprop_bnb", "rmsprop_bnb_8bit", "rmsprop_bnb_32bit",
    "schedule_free_adamw", "schedule_free_radam", "schedule_free_sgd",
    "adamw_anyprecision", "lomo", "adalomo", "grokadamw", "stable_adamw", "adamw_torch_xla", "adamw_torch_npu_fused",
    "galore_adamw", "galore_adamw_8bit", "galore_adafactor", "galore_adamw_layerwise", "galore_adamw_8bit_layerwise",
    "galore_adafactor_layerwise", "apollo_adamw", "apollo_adamw_layerwise",
]  # fmt: skip
Scheduler = Literal[
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt",
    "reduce_lr_on_plateau", "cosine_with_min_lr", "cosine_warmup_with_min_lr", "warmup_stable_decay", "greedy",
]  # fmt: skip


class TrainingSection(Section):
    """How the optimizer steps, how often to evaluate, log and save."""

    section: ClassVar[str] = "training"

    per_device_train_batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        DEFAULT_ROWS,
        description="Rows of one forward pass on each device; auto: the most that fit, the step's rows stay.",
    )
    auto_find_batch_size: bool = Field(
        False, description="Let per_device_train_batch_size be the most that fits; the step's rows stay as they are."
    )
    tokens_per_batch: Annotated[int, Field(ge=1)] | Literal["auto"] | None = Field(
        None, description="Tokens of one forward pass on each device, padding included; auto: the most that fit."
    )
    gradient_accumulation_steps: int = Field(1, ge=1, description="Forward passes of one optimizer step.")
    per_device_eval_batch_size: int = Field(8, ge=1, description="Rows of one evaluation pass on each device.")
    num_train_epochs: float = Field(3.0, gt=0, description="Passes over the data.")
    max_steps: int = Field(-1, ge=-1, description="Optimizer steps; above 0 it replaces num_train_epochs.")
    learning_rate: float = Field(
        5e-5,
        gt=0,
        description="Peak learning rate; auto: by published findings.",
        json_schema_extra={"automatic": True},
    )
    lr_scheduler_type: Scheduler = Field("linear", description="Course of the learning rate.")
    lr_scheduler_kwargs: dict[str, Any] | None = Field(None, description="Further settings of the scheduler.")
    warmup_steps: float = Field(0, ge=0, description="Steps of linear warm-up; below 1: a share of all steps.")
    optim: Optimizer = Field("adamw_torch_fused", description="Optimizer.")
    optim_args: str | None = Field(None, description="Further settings of the optimizer, as a=1,b=2.")
    optim_target_modules: tuple[str, ...] | None = Field(
        None, description="Linear layers that galore_adamw and apollo_adamw project, by name, or all-linear."
    )
    weight_decay: float = Field(0.0, ge=0, description="Weight decay.")
    adam_beta1: float = Field(0.9, ge=0, lt=1, description="First Adam coefficient.")
    adam_beta2: float = Field(0.999, ge=0, lt=1, description="Second Adam coefficient.")
    adam_epsilon: float = Field(1e-8, gt=0, description="Adam's epsilon.")
    max_grad_norm: float = Field(1.0, ge=0, description="Gradients are clipped to this norm; 0: never.")
    bf16: bool | None = Field(
        None, description="Mixed precision with bfloat16; unset: on for weights stored in it, where it is fast."
    )
    fp16: bool = Field(False, description="Mixed precision with float16.")
    pure_bf16: bool = Field(False, description="Weights and optimizer in bfloat16, without mixed precision.")
    tf32: bool | None = Field(None, description="TF32 matrix products on NVIDIA GPUs; unset: PyTorch's default.")
    gradient_checkpointing: bool | None = Field(
        None, description="Compute activations twice to save memory; unset: on accelerators only."
    )
    gradient_checkpointing_kwargs: dict[str, Any] | None = Field(None, description="Settings of checkpointing.")
    torch_compile: bool | Literal["auto"] = Field(
        "auto", description="Compile the decoder layers for training steps; auto: where a run is long enough to pay."
    )
    torch_compile_backend: str | None = Field(None, description="Backend of torch.compile; unset: inductor.")
    torch_compile_mode: str | None = Field(None, description="Mode of torch.compile, such as max-autotune.")
    disable_shuffling: bool = Field(False, description="Keep the rows in the order of the files.")
    dataloader_drop_last: bool = Field(False, description="Leave out the last, smaller batch of an epoch.")
    dataloader_num_workers: int = Field(0, ge=0, description="Processes that load batches.")
    dataloader_pin_memory: bool = Field(True, description="Load batches into pinned memory.")
    dataloader_persistent_workers: bool = Field(False, description="Keep the loading processes between epochs.")
    dataloader_prefetch_factor: int | None = Field(None, ge=1, description="Batches each process loads ahead.")
    torch_empty_cache_steps: int | None = Field(None, ge=1, description="Empty the device's cache every so many steps.")
    ddp_timeout: int = Field(1800, ge=1, description="Seconds that ranks wait for each other.")

    eval_strategy: Literal["no", "steps", "epoch"] = Field("no", description="When to evaluate.")
    eval_steps: float | None = Field(None, gt=0, description="Steps between evaluations; unset: logging_steps.")
    eval_delay: float = Field(0, ge=0, description="Steps or epochs before the first evaluation.")
    eval_on_start: bool = Field(False, description="Evaluate once before training.")
    compute_accuracy: bool = Field(False, description="Report the token accuracy of evaluations.")
    load_best_model_at_end: bool = Field(False, description="Finish with the best checkpoint instead of the last.")
    metric_for_best_model: str | None = Field(None, description="Metric that decides which checkpoint is best.")
    greater_is_better: bool | None = Field(None, description="Whether a higher metric is better; unset: by its name.")
    early_stopping_steps: int | None = Field(None, ge=1, description="Stop after so many evaluations without progress.")

    logging_strategy: Literal["no", "steps", "epoch"] = Field("steps", description="When to log.")
    logging_steps: float = Field(500, gt=0, description="Steps between logged values; below 1: a share of all steps.")
    logging_first_step: bool = Field(False, description="Log the first step too.")
    include_num_input_tokens_seen: bool | Literal["all", "non_padding", "no"] = Field(
        "no", description="Log the number of tokens read."
    )
    disable_tqdm: bool | None = Field(None, description="Show no progress line.")

    save_strategy: Literal["no", "steps", "epoch", "best"] = Field("steps", description="When to save a checkpoint.")
    save_steps: float = Field(500, gt=0, description="Steps between checkpoints; below 1: a share of all steps.")
    save_total_limit: int | None = Field(None, ge=1, description="Keep so many checkpoints, and the best one.")
    save_only_model: bool = Field(False, description="Save weights only: smaller, but a run cannot be resumed.")

    @property
    def finds_batch(self) -> bool:
        """Say whether the largest batch that fits is looked for."""
        return self.auto_find_batch_size or "auto" in (self.per_device_train_batch_size, self.tokens_per_batch)

    @property
    def must_compile(self) -> bool:
        """Say whether the user asks for compiled layers, as transformers reads these keys."""
        return self.torch_compile is True or bool(self.torch_compile_backend or self.torch_compile_mode)

    @property
    def batch_rows(self) -> int:
        """Rows of a forward pass before any search."""
        rows = self.per_device_train_batch_size
        return DEFAULT_ROWS if rows == "auto" else rows

    def token_budget(self, cutoff_len: int) -> int | None:
        """Tokens of a forward pass before any search: with auto as many as its rows may have."""
        return self.batch_rows * cutoff_len if self.tokens_per_batch == "auto" else self.tokens_per_batch
