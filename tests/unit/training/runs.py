# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Small training runs for tests: a tiny random Llama, made rows, and all parts of a trainer with their defaults."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedModel,
    TrainerCallback,
)

from tests.unit.training.batches import make_store
from tunesmith.config.sections.model import ModelSection
from tunesmith.config.sections.run import RunSection
from tunesmith.config.sections.training import TrainingSection
from tunesmith.core.types import LayoutKind
from tunesmith.data.plan import PlanRules
from tunesmith.data.store import TokenRows
from tunesmith.models.aids import TrainingAids
from tunesmith.models.attention.forest import FOREST
from tunesmith.models.tuners.base import Tuner
from tunesmith.models.tuners.full import FullParams, FullTuner
from tunesmith.objectives.base import Head, objectives
from tunesmith.training.arguments import build_arguments
from tunesmith.training.callbacks.flow import RunClock, WeightGuard
from tunesmith.training.callbacks.tuner_steps import TunerSteps
from tunesmith.training.checkpoints import Checkpoints
from tunesmith.training.optimizers.base import OptimizerPart
from tunesmith.training.parts import TrainerParts
from tunesmith.training.record import RunRecord
from tunesmith.training.trainer import TunesmithTrainer

LENGTHS = (12, 7, 20, 9, 15, 6, 11, 18, 8, 10, 14, 5, 16, 13, 9, 7, 12, 19, 6, 10, 11, 8, 17, 9)


def tiny_model(
    *, seed: int = 0, vocabulary: int = 100, attention_dropout: float = 0.0, head: Head = "language"
) -> PreTrainedModel:
    """Make a two-layer Llama with random weights."""
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        attention_dropout=attention_dropout,
        tie_word_embeddings=True,
    )
    config.num_labels = 1  # of rewards
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        kind: type[PreTrainedModel] = LlamaForCausalLM if head == "language" else LlamaForSequenceClassification
        model = kind(config)
    model.set_attn_implementation(FOREST)
    return model


@dataclass(kw_only=True)
class TinyRun:
    """A run over made rows; every field has a default, `keys` are keys of the training section."""

    folder: Path
    keys: Mapping[str, Any] = field(default_factory=dict)
    stage: str = "sft"
    objective_keys: Mapping[str, Any] = field(default_factory=dict)
    store: TokenRows = field(default_factory=lambda: make_store(LENGTHS))
    evals: Mapping[str, TokenRows] = field(default_factory=dict)
    layout: LayoutKind = "packed"
    pack_tokens: int | None = None
    shuffle: bool = True
    model: nn.Module = field(default_factory=tiny_model)
    tuner: Tuner = field(default_factory=lambda: FullTuner(FullParams()))
    optimizer: OptimizerPart | None = None
    callbacks: Sequence[TrainerCallback] = ()
    aids: TrainingAids = field(default_factory=TrainingAids)

    def trainer(self) -> TunesmithTrainer:
        """Put the trainer together."""
        keys = {
            "per_device_train_batch_size": 4,
            "num_train_epochs": 2,
            "learning_rate": 1e-2,
            "logging_steps": 1,
            "save_strategy": "no",
            **self.keys,
        }
        training = TrainingSection.model_validate(keys)
        run = RunSection.model_validate({"output_dir": str(self.folder), "use_cpu": True, "seed": 3})
        args = build_arguments(training, run, ModelSection.model_validate({}), has_evaluation=bool(self.evals))
        plan = PlanRules(
            seed=3,
            batch_rows=training.batch_rows,
            gradient_accumulation_steps=training.gradient_accumulation_steps,
            pack_tokens=self.pack_tokens,
            shuffle=self.shuffle,
        )
        trainer = TunesmithTrainer(self._parts(plan, training), args)
        for callback in (RunClock(trainer), TunerSteps(trainer), WeightGuard(trainer), *self.callbacks):
            trainer.add_callback(callback)
        return trainer

    def _parts(self, plan: PlanRules, training: TrainingSection) -> TrainerParts:
        objective = objectives.get(self.stage)
        record = RunRecord(config=dict(self.keys), config_text="", fingerprints={}, choices={}, versions={})
        return TrainerParts(
            model=self.model,
            tuner=self.tuner,
            optimizer=self.optimizer,
            aids=self.aids,
            objective=objective(objective.Params.model_validate(dict(self.objective_keys))),
            train=self.store,
            evals=self.evals,
            plan=plan,
            layout=self.layout,
            pad_id=0,
            checkpoints=Checkpoints(folder=self.folder, record=record, keep=training.save_total_limit),
            write_side_files=lambda folder: None,
            compute_accuracy=training.compute_accuracy,
        )
