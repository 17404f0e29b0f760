# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Keys reach transformers' arguments; precision, checkpointing and trackers are decided or refused by name."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tunesmith.config.sections.model import ModelSection
from tunesmith.config.sections.run import RunSection
from tunesmith.config.sections.training import TrainingSection
from tunesmith.core.errors import TunesmithError
from tunesmith.training.arguments import build_arguments, checkpointing_kwargs, checkpoints_activations
from tunesmith.training.precision import choose_dtype
from tunesmith.training.trackers import PACKAGES, choose_trackers


def training_section(**keys: Any) -> TrainingSection:
    return TrainingSection.model_validate(keys)


def model_section(**keys: Any) -> ModelSection:
    return ModelSection.model_validate(keys)


def run_section(folder: Path, **keys: Any) -> RunSection:
    return RunSection.model_validate({"output_dir": str(folder), "use_cpu": True, **keys})


CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_keys_reach_transformers(tmp_path: Path) -> None:
    training = training_section(
        learning_rate=3e-4,
        warmup_steps=0.1,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr": 1e-5},
        eval_strategy="steps",
        save_total_limit=2,
        include_num_input_tokens_seen=True,
        bf16=True,
    )
    run = run_section(tmp_path, seed=7)
    args = build_arguments(training, run, model_section())
    assert (args.learning_rate, args.warmup_steps, args.seed, args.bf16) == (3e-4, 0.1, 7, True)
    assert args.lr_scheduler_kwargs == {"min_lr": 1e-5} and args.get_warmup_steps(50) == 5
    assert args.metric_for_best_model == "loss" and args.greater_is_better is False
    assert args.save_total_limit is None, "rotation is ours"
    assert args.report_to == [] and args.disable_tqdm and not args.logging_nan_inf_filter
    assert build_arguments(training, run, model_section(), has_evaluation=False).eval_strategy == "no"


def test_a_refusal_of_transformers_is_coded(tmp_path: Path) -> None:
    training = training_section(load_best_model_at_end=True, eval_strategy="epoch", save_strategy="steps")
    with pytest.raises(TunesmithError, match=r"config\.training_arguments_invalid.*save and eval strategy"):
        build_arguments(training, run_section(tmp_path), model_section())


@pytest.mark.parametrize(
    ("training", "model", "on_cpu", "on_gpu"),
    [
        ({}, {}, False, True),
        ({"gradient_checkpointing": True}, {}, True, True),
        ({"gradient_checkpointing": False}, {}, False, False),
        ({}, {"disable_gradient_checkpointing": True}, False, False),
    ],
)
def test_activation_checkpointing(training: dict[str, Any], model: dict[str, Any], on_cpu: bool, on_gpu: bool) -> None:
    sections = training_section(**training), model_section(**model)
    assert checkpoints_activations(*sections, device=CPU) is on_cpu
    assert checkpoints_activations(*sections, device=CUDA) is on_gpu


def test_checkpointing_is_not_reentrant_unless_asked() -> None:
    training = training_section(gradient_checkpointing_kwargs={"preserve_rng_state": False})
    assert checkpointing_kwargs(training, model_section())["use_reentrant"] is False
    asked = checkpointing_kwargs(training, model_section(use_reentrant_gc=True))
    assert asked == {"use_reentrant": True, "preserve_rng_state": False}


@pytest.mark.parametrize(
    ("keys", "trains_all", "dtype"),
    [
        ({}, False, torch.float32),
        ({"bf16": True}, False, torch.bfloat16),
        ({"bf16": True}, True, torch.float32),
        ({"fp16": True}, False, torch.float16),
        ({"pure_bf16": True}, True, torch.bfloat16),
        ({"pure_bf16": True}, False, torch.bfloat16),
    ],
)
def test_format_of_the_loaded_weights(keys: dict[str, bool], trains_all: bool, dtype: torch.dtype) -> None:
    assert choose_dtype(training_section(**keys), trains_all=trains_all, device=CUDA) == dtype


def test_fp16_needs_a_gpu() -> None:
    with pytest.raises(TunesmithError, match=r"training\.precision_unsupported"):
        choose_dtype(training_section(fp16=True), trains_all=False, device=CPU)


def test_trackers_must_be_installed_when_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.training.trackers.has_package", lambda name: name == "tensorboard")
    assert choose_trackers(["none"]) == []
    assert choose_trackers(["all"]) == ["tensorboard"]
    assert choose_trackers(["tensorboard"]) == ["tensorboard"]
    for name in set(PACKAGES) - {"tensorboard"}:
        with pytest.raises(TunesmithError, match=rf"report_to names {name}") as caught:
            choose_trackers([name])
        assert f"pip install {name}" in caught.value.problems[0].remedy
