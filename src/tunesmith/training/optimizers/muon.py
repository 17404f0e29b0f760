# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Muon (torch's own) for the weight matrices inside the model, AdamW for embeddings, head, norms and biases.

Updates of matrices are orthogonalised and scaled to the size of AdamW's (arXiv 2502.16982), so one learning rate fits
both.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import nn
from transformers import TrainingArguments

from tunesmith.config.section import Section
from tunesmith.models.anatomy import base_model
from tunesmith.models.tuners.base import trained_parameters
from tunesmith.training.optimizers.base import OptimizerPart, adam_settings, decayed_names, optimizers
from tunesmith.training.optimizers.joined import JoinedOptimizer


class MuonSwitch(Section):
    """Keys of optimizers that are chosen by a key of their own."""

    section: ClassVar[str] = "optimizers"

    use_muon: bool = Field(False, description="Muon: orthogonalised updates of weight matrices (arXiv 2502.16982).")


class MuonParams(Section):
    """Keys of optimizers that are chosen by a key of their own."""

    section: ClassVar[str] = "optimizers"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"use_muon": ("true",)}


@optimizers.register("use_muon")
class Muon(OptimizerPart):
    """Muon and AdamW side by side."""

    Switch: ClassVar[type[Section]] = MuonSwitch
    Params: ClassVar[type[Section]] = MuonParams

    def build(self, model: nn.Module, args: TrainingArguments) -> torch.optim.Optimizer:
        """Give matrices outside embedding and head to Muon, the rest to AdamW."""
        outside = _end_parameters(model)
        decayed = decayed_names(model)
        matrices: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        undecayed: list[nn.Parameter] = []
        for name, parameter in trained_parameters(model):
            if parameter.ndim == 2 and parameter not in outside and "lora_embedding" not in name:
                matrices.append(parameter)
            else:
                (rest if name in decayed else undecayed).append(parameter)
        decay = args.weight_decay
        parts: list[torch.optim.Optimizer] = []
        if matrices:
            parts.append(
                torch.optim.Muon(
                    matrices,
                    lr=args.learning_rate,
                    weight_decay=decay,
                    momentum=0.95,
                    nesterov=True,
                    adjust_lr_fn="match_rms_adamw",
                )
            )
        groups = [{"params": rest, "weight_decay": decay}, {"params": undecayed, "weight_decay": 0.0}]
        groups = [group for group in groups if group["params"]]
        if groups:
            parts.append(torch.optim.AdamW(groups, **adam_settings(args)))
        return JoinedOptimizer(parts)


def _end_parameters(model: nn.Module) -> set[nn.Parameter]:
    base = base_model(model)
    ends = [base.get_input_embeddings(), base.get_output_embeddings()]
    return {parameter for end in ends if isinstance(end, nn.Module) for parameter in end.parameters()}
