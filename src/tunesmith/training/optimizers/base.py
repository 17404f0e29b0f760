# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The contract of an optimizer that a key of its own chooses: which key, its settings, and how it is built.

An optimizer knows the model's named parameters and transformers' arguments; it never sees data, losses or the trainer.
Its whole state is in tensors and numbers, so that a run resumes exactly without pickle.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import Trainer, TrainingArguments
from transformers.trainer_pt_utils import get_parameter_names

from tunesmith.config.section import Section
from tunesmith.core.errors import refusal
from tunesmith.core.registry import Registry

_PLAIN = ("adamw_torch", "adamw_torch_fused")
_NO_DECAY = [r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)"]


class OptimizerPart(ABC):
    """One way to step. Subclass, set the sections, register with `@optimizers.register("key that chooses it")`.

    `Switch` holds that key alone, so that the keys of `Params` are known to need it. `wraps_optim` says that the
    optimizer named by `optim` does the stepping; others replace it. `finetuning_types` are those it works with.
    """

    Switch: ClassVar[type[Section]]
    Params: ClassVar[type[Section]]
    wraps_optim: ClassVar[bool] = False
    finetuning_types: ClassVar[tuple[str, ...] | None] = None

    def __init__(self, switch: Section, params: Section) -> None:
        self.switch = switch
        self.params = params

    @classmethod
    def check(cls, flat: Mapping[str, Any]) -> None:
        """Refuse settings that this optimizer cannot work with; overriding methods call this one too."""
        key, tuner = next(iter(cls.Switch.model_fields)), flat["finetuning_type"]
        if cls.finetuning_types is not None and tuner not in cls.finetuning_types:
            fitting = " or ".join(cls.finetuning_types)
            raise _conflict(key, f"{key} works with finetuning_type {fitting}, not with {tuner}.")

    @property
    def steps_in_backward(self) -> bool:
        """Say whether weights are stepped as their gradients come, so that there is no norm of all gradients."""
        return False

    @abstractmethod
    def build(self, model: nn.Module, args: TrainingArguments) -> torch.optim.Optimizer:
        """Make the optimizer of the trained parameters."""


optimizers: Registry[type[OptimizerPart]] = Registry(
    "optimizer", "tunesmith.training.optimizers", code="config.optimizer_unknown"
)


def chosen_optimizer(flat: Mapping[str, Any]) -> str | None:
    """Give the key that chooses an optimizer, None where `optim` alone does; two choices are refused."""
    chosen = [key for key in optimizers.names() if flat.get(key)]
    if len(chosen) > 1:
        raise _conflict(chosen[0], f"{' and '.join(chosen)} each choose how to step, and only one can.")
    if not chosen:
        return None
    kind, optim = optimizers.get(chosen[0]), flat["optim"]
    if not kind.wraps_optim and optim not in _PLAIN:
        raise _conflict("optim", f"{chosen[0]} replaces the optimizer, so optim: {optim} would have no effect.")
    if not kind.wraps_optim and flat["optim_args"]:
        raise _conflict("optim_args", f"{chosen[0]} has keys of its own, so optim_args would have no effect.")
    kind.check(flat)
    return chosen[0]


def _conflict(key: str, message: str) -> Exception:
    return refusal("config.keys_conflict", message, "Keep one of them.", key=key)


def decayed_names(model: nn.Module) -> set[str]:
    """Name the parameters that weight decay applies to, as transformers chooses them: no biases, no norms."""
    return set(get_parameter_names(model, [nn.LayerNorm], _NO_DECAY))


def named_by_optim(groups: list[dict[str, Any]], model: nn.Module, args: TrainingArguments) -> torch.optim.Optimizer:
    """Build the optimizer that `optim` names over groups of parameters."""
    kind, settings = Trainer.get_optimizer_cls_and_kwargs(args, model)  # type: ignore[arg-type]
    optimizer: torch.optim.Optimizer = kind([group for group in groups if group["params"]], **settings)
    return optimizer


def adam_settings(args: TrainingArguments) -> dict[str, Any]:
    """Give Adam's settings under torch's names."""
    return {"lr": args.learning_rate, "betas": (args.adam_beta1, args.adam_beta2), "eps": args.adam_epsilon}
