# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Our sections → `transformers.TrainingArguments`: keys of the same name are handed on, the rest is decided here.

Saving limits, progress lines, the loss filter and token counts are ours and switched off there.
"""

import warnings
from dataclasses import fields
from typing import Any

import torch
from transformers import TrainingArguments

from tunesmith.config.sections.model import ModelSection
from tunesmith.config.sections.run import RunSection
from tunesmith.config.sections.training import TrainingSection
from tunesmith.core.errors import refusal
from tunesmith.training.optimizers.named import transformers_name
from tunesmith.training.trackers import choose_trackers

_RUN_KEYS = ("output_dir", "seed", "data_seed", "full_determinism", "run_name", "project")
_OURS = {
    "auto_find_batch_size",
    "gradient_checkpointing",
    "gradient_checkpointing_kwargs",
    "include_num_input_tokens_seen",
    "disable_tqdm",
    "save_total_limit",
    "save_only_model",
    "torch_compile",
    "torch_compile_backend",
    "torch_compile_mode",
}


def build_arguments(
    training: TrainingSection, run: RunSection, model: ModelSection, *, has_evaluation: bool = True
) -> TrainingArguments:
    """Build the arguments of the trainer, or refuse a combination that transformers refuses."""
    names = {item.name for item in fields(TrainingArguments) if item.init} - _OURS
    given = training.model_dump()
    values: dict[str, Any] = {name: value for name, value in given.items() if name in names}
    values |= {name: getattr(run, name) for name in _RUN_KEYS}
    is_checkpointing = checkpoints_activations(training, model, device=training_device(run))
    values |= {
        "use_cpu": training_device(run).type == "cpu",
        "dataloader_pin_memory": training.dataloader_pin_memory and training_device(run).type == "cuda",
        "report_to": choose_trackers(run.report_to) or "none",
        "activation_checkpointing": is_checkpointing,
        "activation_checkpointing_kwargs": checkpointing_kwargs(training, model) if is_checkpointing else None,
        "save_only_model": training.save_only_model,
        "bf16": bool(training.bf16),
        "optim": transformers_name(training.optim),
        "optim_target_modules": None,
        "per_device_train_batch_size": training.batch_rows,
        "disable_tqdm": True,
        "logging_nan_inf_filter": False,
        "remove_unused_columns": False,
        "include_num_input_tokens_seen": "no",
        "eval_strategy": training.eval_strategy if has_evaluation else "no",
    }
    if values["eval_strategy"] != "no" and values["metric_for_best_model"] is None:
        values["metric_for_best_model"] = "loss"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return TrainingArguments(**values)
    except ValueError as error:
        raise refusal(
            "config.training_arguments_invalid",
            f"transformers refuses these training settings: {error}",
            "Change the settings that the message names.",
        ) from error


def training_device(run: RunSection) -> torch.device:
    """Say on which kind of device a run works."""
    if run.use_cpu or not torch.accelerator.is_available():
        return torch.device("cpu")
    device = torch.accelerator.current_accelerator()
    assert device is not None
    return device


def checkpoints_activations(training: TrainingSection, model: ModelSection, *, device: torch.device) -> bool:
    """Say whether activations are computed twice: as asked, else on accelerators only (a CPU has memory to spare)."""
    if model.disable_gradient_checkpointing:
        return False
    if training.gradient_checkpointing is not None:
        return training.gradient_checkpointing
    return device.type != "cpu"


def checkpointing_kwargs(training: TrainingSection, model: ModelSection) -> dict[str, Any]:
    """Give the settings of torch's checkpoint function; the non-reentrant form unless `use_reentrant_gc` was set."""
    is_asked = "use_reentrant_gc" in model.model_fields_set
    return {"use_reentrant": is_asked and model.use_reentrant_gc, **(training.gradient_checkpointing_kwargs or {})}
