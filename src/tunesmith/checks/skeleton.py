# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The model of a run without its weights: modules on the meta device, adapted or frozen as the configuration says.

Whatever the tuner refuses when it is attached to a real model it refuses here, before any weight is read.
"""

from pathlib import Path

from torch import nn

from tunesmith.config.run import RunConfig
from tunesmith.models.load import load_skeleton
from tunesmith.models.new_rows_tuner import with_new_rows
from tunesmith.models.reward_head import load_reward_skeleton
from tunesmith.models.tuners.base import Tuner, tuners
from tunesmith.objectives.base import objectives


def build_skeleton(config: RunConfig, folder: Path) -> nn.Module:
    """Attach the tuner, or put each adapter on a model of its own, and give the model that would be trained or used."""
    tuner = with_new_rows(_build_tuner(config), folder)
    build = load_reward_skeleton if trains_reward_model(config) else load_skeleton
    adapters = [Path(name) for name in config.model.adapter_name_or_path]
    loaded: list[nn.Module] = [tuner.load(build(folder), adapter, is_trainable=True) for adapter in adapters]
    is_fresh = not adapters or bool(config.flat.get("create_new_adapter", False))
    if config.job == "train" and is_fresh:
        return tuner.attach(build(folder))
    return loaded[-1] if loaded else build(folder)


def trains_reward_model(config: RunConfig) -> bool:
    """Say whether the loss of the run's stage reads a scalar head."""
    stage = config.run.stage
    return config.job == "train" and stage in objectives.names() and objectives.get(stage).head == "scalar"


def _build_tuner(config: RunConfig) -> Tuner:
    kind = tuners.get(config.run.finetuning_type)
    return kind(config.part(kind.Params), seed=config.run.seed)
