# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Puts the parts of a training run together: model and tuner, layout and choices, the trainer with its callbacks.

Nothing here writes to the output folder.
"""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainingArguments

from tunesmith.checks.context import Parts
from tunesmith.checks.schedule import is_packing
from tunesmith.config.run import RunConfig
from tunesmith.core.cpu_policy import wait_policy
from tunesmith.core.errors import refusal
from tunesmith.core.folder_code import copy_allowed_code
from tunesmith.core.progress import say
from tunesmith.core.types import LayoutKind
from tunesmith.data.mismatched import rows_for
from tunesmith.data.plan import PlanRules
from tunesmith.data.store import TokenRows
from tunesmith.data.trivial_rules import OPENING_WINS, OpeningRule
from tunesmith.jobs.base_model import load_base
from tunesmith.jobs.fingerprints import reference_hashes
from tunesmith.jobs.learned_start import learn_start
from tunesmith.jobs.reference import SCORED_ONCE, PolicyAtStart, RunReference
from tunesmith.models.adapter_files import CONFIG_FILE
from tunesmith.models.aids import TrainingAids, attach_aids
from tunesmith.models.anatomy import base_model
from tunesmith.models.attention.packing import can_pack
from tunesmith.models.attention.verdicts import trusted_self_test
from tunesmith.models.coverage import coverage
from tunesmith.models.float8 import refuse_float8
from tunesmith.models.lora_fast import use_fast_lora
from tunesmith.models.new_rows_tuner import with_new_rows
from tunesmith.models.qat import prepare_qat, quantization_of
from tunesmith.models.quantized_loading import write_base_record
from tunesmith.models.quantizers.base import Quantization
from tunesmith.models.tuners.base import Tuner, tuners
from tunesmith.models.variants import changes_in_words, copy_manifest
from tunesmith.objectives.base import Objective, objectives
from tunesmith.templates.tokenizer import padding_id
from tunesmith.training.arguments import build_arguments, training_device
from tunesmith.training.callbacks.averages import AveragedWeights
from tunesmith.training.callbacks.flow import EarlyStopping, LogEnds, RunClock, StopWhenInterrupted, WeightGuard
from tunesmith.training.callbacks.log_file import LogFile
from tunesmith.training.callbacks.progress_line import ProgressLine
from tunesmith.training.callbacks.tuner_steps import TunerSteps
from tunesmith.training.checkpoints import Checkpoints
from tunesmith.training.comparison import ReferencePart
from tunesmith.training.evaluation import metric_names
from tunesmith.training.interrupt import InterruptFlag
from tunesmith.training.optimizers.base import OptimizerPart, chosen_optimizer, optimizers
from tunesmith.training.optimizers.named import named_optimizer, tell_remarks
from tunesmith.training.parts import TrainerParts
from tunesmith.training.precision import choose_dtype, mixed_precision
from tunesmith.training.record import RunRecord
from tunesmith.training.stream_batches import StreamedBatches
from tunesmith.training.trainer import TunesmithTrainer

# Files of a model folder that make its tokenizer; they are copied, because writing a loaded one may change its ids.
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "chat_template.jinja",
)

_TRAINING = "the training rows"


@dataclass(frozen=True, kw_only=True)
class BuiltModel:
    """The model of a run, its tuner, and how its rows are laid out."""

    model: nn.Module
    tuner: Tuner
    layout: LayoutKind
    choices: Mapping[str, Any]
    coverage: Mapping[str, Any]
    quantization: Quantization | None
    aids: TrainingAids


def build_model(config: RunConfig, parts: Parts, *, saved_choices: Mapping[str, Any] | None) -> BuiltModel:
    """Load the model, attach the tuner, and choose the layout, or repeat the choices of a checkpoint."""
    device, trains = training_device(config.run), config.run.do_train
    trains_all = trains and config.run.finetuning_type == "full"
    dtype = choose_dtype(config.training, trains_all=trains_all, device=device)
    base = load_base(config, parts, dtype=dtype, device=device)
    kind = tuners.get(config.run.finetuning_type)
    tuner = kind(config.part(kind.Params), seed=config.run.seed, pure_bf16=config.training.pure_bf16)
    if parts.folder is not None:
        tuner = with_new_rows(tuner, parts.folder)
    adapters = [Path(adapter) for adapter in config.model.adapter_name_or_path]
    model = tuner.prepare(base.model, adapters, is_trainable=trains)
    quantization = shape_for_training(config, model) or base.quantization if trains else base.quantization
    with mixed_precision(config.training, device):
        layout = choose_layout(model, saved_choices)
    policy = PolicyAtStart(model=model, tuner=tuner, layout=layout)
    begun = learn_start(config, parts, policy, saved_choices=saved_choices) if trains else {}
    report = coverage(model)
    if trains:
        say(report.table())
    choices = {
        "layout": layout,
        "dtype": str(dtype).removeprefix("torch."),
        "device": device.type,
        "attention": str(base_model(model).config._attn_implementation),
        "threads": torch.get_num_threads(),
        "wait_policy": wait_policy(),
        **({"quantization": quantization.words()} if quantization is not None else {}),
        **(changes_in_words(parts.folder) if parts.folder is not None else {}),
        **reference_choices(config, parts, tuner, saved_choices),
        **begun,
    }
    return BuiltModel(
        model=model,
        tuner=tuner,
        layout=layout,
        choices=choices,
        coverage=report.to_json(),
        quantization=quantization,
        aids=attach_aids(model, config.aids, device=device) if trains else TrainingAids(),
    )


def shape_for_training(config: RunConfig, model: nn.Module) -> Quantization | None:
    """Let weights be rounded where `qat` asks for it, plain LoRA layers be fast, and say how weights are rounded."""
    qat = config.quantization.qat
    if qat is not None:
        prepare_qat(model, qat)
    use_fast_lora(model)
    return None if qat is None else quantization_of(qat)


def reference_choices(
    config: RunConfig, parts: Parts, tuner: Tuner, saved_choices: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Say what the loss compares with, if anything, and whether that is scored once, before training."""
    if not build_objective(config).needs_reference:
        return {}
    reference = RunReference(config, parts, tuner=tuner)
    return {"reference": reference.words, SCORED_ONCE: reference.is_scored_once(saved_choices)}


def choose_layout(model: nn.Module, saved_choices: Mapping[str, Any] | None) -> LayoutKind:
    """Pack rows where the model computes the same packed, or repeat the choice of a checkpoint."""
    is_allowed, reason = can_pack(model)
    if saved_choices is not None:
        saved: LayoutKind = saved_choices["layout"]
        if saved == "packed" and not is_allowed:
            raise refusal(
                "checkpoint.choice_unrepeatable",
                f"The checkpoint was trained on packed rows, which cannot be repeated here: {reason}.",
                "Continue with the settings and versions of the first start, or start anew.",
                key="resume_from_checkpoint",
            )
        return saved
    if not is_allowed:
        say(f"Rows are padded, not packed: {reason}.")
        return "padded"
    trial = trusted_self_test(model)
    say(f"Rows are {'packed without padding' if trial.is_equal else 'padded'}: {trial.reason}.")
    return "packed" if trial.is_equal else "padded"


def run_arguments(config: RunConfig, *, has_evaluation: bool) -> TrainingArguments:
    """Build transformers' arguments of a run."""
    return build_arguments(config.training, config.run, config.model, has_evaluation=has_evaluation)


def plan_rules(config: RunConfig, args: TrainingArguments, layout: LayoutKind) -> PlanRules:
    """Give the rules of the batch plan."""
    run, data, training = config.run, config.data, config.training
    return PlanRules(
        seed=run.data_seed if run.data_seed is not None else run.seed,
        batch_rows=training.batch_rows,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        world_size=args.world_size,
        pack_tokens=data.cutoff_len if is_packing(config) else None,
        tokens_per_batch=training.token_budget(data.cutoff_len),
        layout=layout,
        shuffle=not training.disable_shuffling,
        drop_last=training.dataloader_drop_last,
    )


def build_trainer(config: RunConfig, parts: Parts, built: BuiltModel, *, record: RunRecord) -> TunesmithTrainer:
    """Build the trainer of a run."""
    assert parts.data is not None and parts.tokenizer is not None
    training, folder = config.training, Path(config.run.output_dir or "")
    args = run_arguments(config, has_evaluation=bool(parts.data.evals))
    reference, train, evals = compared_rows(config, parts, built, record)
    return TunesmithTrainer(
        TrainerParts(
            model=built.model,
            tuner=built.tuner,
            objective=build_objective(config),
            train=train,
            evals=evals,
            plan=plan_rules(config, args, built.layout),
            layout=built.layout,
            pad_id=padding_id(parts.tokenizer),
            checkpoints=Checkpoints(folder=folder, record=record, keep=training.save_total_limit),
            write_side_files=partial(write_side_files, parts, quantization=built.quantization),
            compute_accuracy=training.compute_accuracy,
            reported_tokens=reported_tokens(training.include_num_input_tokens_seen),
            stream=streamed_batches(parts, plan_rules(config, args, built.layout), args),
            reports_each_set=reports_each_set(config),
            optimizer=build_optimizer(config),
            trains=config.run.do_train,
            aids=built.aids,
            reference=reference,
            known_metrics=trivial_metrics(config, parts),
        ),
        args,
    )


def build_optimizer(config: RunConfig) -> OptimizerPart | None:
    """Give the optimizer that a key of its own chooses, or one of ours that `optim` names; None for the others."""
    key = chosen_optimizer(config.flat)
    named = named_optimizer(config.training, finetuning_type=config.run.finetuning_type)
    if key is None:
        return named
    kind = optimizers.get(key)
    return kind(config.part(kind.Switch), config.part(kind.Params))


def look_at_optimizer(config: RunConfig) -> None:
    """Refuse keys that choose two optimizers, or one that does not fit or cannot be used here."""
    build_optimizer(config)
    if config.aids.fp8:
        device, tuner = training_device(config.run), config.run.finetuning_type
        refuse_float8(device, backend=config.aids.fp8_backend, finetuning_type=tuner)
    tell_remarks(config.training, training_device(config.run))


def build_objective(config: RunConfig) -> Objective:
    """Build the loss of a run's stage."""
    kind = objectives.get(config.run.stage)
    return kind(config.part(kind.Params))


def compared_rows(
    config: RunConfig, parts: Parts, built: BuiltModel, record: RunRecord
) -> tuple[ReferencePart, TokenRows | None, dict[str, TokenRows]]:
    """Give the reference and the rows as the loss needs them, with the reference's log-probs where it is scored once.

    This comes before any training, so that the policy still is its own reference.
    """
    assert parts.data is not None
    kind = objectives.get(config.run.stage)
    evals = {name: rows_for(kind, rows) for name, rows in parts.data.evals.items()}
    train = None if parts.data.train is None else rows_for(kind, parts.data.train)
    if not build_objective(config).needs_reference:
        return ReferencePart(), train, evals
    reference = RunReference(config, parts, tuner=built.tuner)
    policy = PolicyAtStart(model=built.model, tuner=built.tuner, layout=built.layout)
    rows = {**({} if train is None else {_TRAINING: train}), **evals}
    hashes = reference_hashes(record.fingerprints, is_named=reference.is_named)
    part, known = reference.attach(rows, policy, is_scored_once=built.choices[SCORED_ONCE], hashes=hashes)
    return part, known.pop(_TRAINING, None), known


def trivial_metrics(config: RunConfig, parts: Parts) -> dict[str, dict[str, tuple[float, float]]]:
    """Say how often a rule that sees only how answers begin picks the chosen one, in each evaluation set of pairs."""
    data = parts.data
    is_paired = objectives.get(config.run.stage).row_kind == "preference"
    if not is_paired or data is None or data.train is None or not data.evals:
        return {}
    rule = OpeningRule(data.train)
    return {name: {OPENING_WINS: rule.wins(rows)} for name, rows in data.evals.items()}


def reports_each_set(config: RunConfig) -> bool:
    """Say whether evaluations name each set, also where there is one; rows of val_size are no set."""
    return config.data.eval_on_each_dataset and bool(config.data.eval_dataset)


def streamed_batches(parts: Parts, rules: PlanRules, args: TrainingArguments) -> StreamedBatches | None:
    """Give the micro-batches of a run over a stream; None where the rows are at hand."""
    if parts.data is None or parts.data.stream is None:
        return None
    num_batches = max(args.max_steps, 0) * args.gradient_accumulation_steps
    return StreamedBatches(parts.data.stream, rules, num_batches=num_batches, rank=args.process_index)


def add_callbacks(trainer: TunesmithTrainer, config: RunConfig, *, flag: InterruptFlag) -> None:
    """Add what accompanies training: clock, guard, log, progress, early stopping, interruption."""
    training, folder = config.training, Path(trainer.args.output_dir or "")
    flow = [RunClock(trainer), LogEnds(), TunerSteps(trainer), WeightGuard(trainer)]
    callbacks: list[TrainerCallback] = [*flow, LogFile(trainer, folder)]
    if not training.disable_tqdm:
        callbacks.append(ProgressLine(trainer))
    if training.early_stopping_steps is not None:
        callbacks.append(EarlyStopping(trainer, patience=training.early_stopping_steps))
    for callback in [*callbacks, StopWhenInterrupted(flag), AveragedWeights(trainer)]:
        trainer.add_callback(callback)


def reported_tokens(setting: bool | str) -> Any:
    """Read `include_num_input_tokens_seen`: a truth value stands for all or no."""
    return {True: "all", False: "no"}.get(setting, setting) if isinstance(setting, bool) else setting


def refuse_unknown_metric(config: RunConfig, evaluation_sets: Iterable[str]) -> None:
    """Refuse a metric that decides about checkpoints but is never reported."""
    metric, names = config.training.metric_for_best_model, list(evaluation_sets)
    if metric is None or not names:
        return
    objective = build_objective(config)
    known = metric_names(
        objective,
        names,
        with_accuracy=config.training.compute_accuracy,
        reports_each_set=reports_each_set(config),
    )
    if metric not in known and f"eval_{metric}" not in known:
        raise refusal(
            "training.metric_unknown",
            f"metric_for_best_model is {metric}, but evaluations report {', '.join(sorted(known))}.",
            "Choose one of those; compute_accuracy: true adds the accuracy.",
            key="metric_for_best_model",
        )


def write_side_files(parts: Parts, folder: Path, *, quantization: Quantization | None = None) -> None:
    """Put tokenizer, template and how the base was quantised beside trained weights: they are served as trained."""
    if quantization is not None:
        write_base_record(quantization, folder)
    for path in tokenizer_files(parts):
        shutil.copyfile(path, folder / path.name)
    if parts.folder is not None:
        copy_allowed_code(parts.folder, folder)
    if parts.folder is not None and (folder / CONFIG_FILE).is_file():  # a whole model holds its changes itself
        copy_manifest(parts.folder, folder)
    if parts.template is not None:
        parts.template.save(folder)


def tokenizer_files(parts: Parts) -> list[Path]:
    """List the files of the model folder that make its tokenizer."""
    assert parts.folder is not None
    return [parts.folder / name for name in _TOKENIZER_FILES if (parts.folder / name).is_file()]


def side_bytes(parts: Parts) -> int:
    """Count the bytes that go beside every set of trained weights."""
    return sum(path.stat().st_size for path in tokenizer_files(parts))
