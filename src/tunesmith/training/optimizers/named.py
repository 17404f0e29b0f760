# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The optimizers that `optim` names: which of them are ours, and which cannot be used here, with the reason.

Ours are those whose public implementation keeps objects in its state, which no safe file holds, or is not maintained.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import TrainingArguments

from tunesmith.config.sections.training import TrainingSection
from tunesmith.core.errors import refusal, warning
from tunesmith.core.optional import has_package
from tunesmith.core.report import emit_warning
from tunesmith.training.optimizers.apollo import Apollo, ApolloParams, ApolloSwitch
from tunesmith.training.optimizers.backward_steps import refuse_accumulation
from tunesmith.training.optimizers.base import OptimizerPart
from tunesmith.training.optimizers.galore import Galore, GaloreParams, GaloreSwitch
from tunesmith.training.optimizers.lomo import build_lomo

OWN = ("galore_adamw", "galore_adamw_layerwise", "apollo_adamw", "apollo_adamw_layerwise", "lomo")
# Name, or its beginning → package and extra that it needs.
_PACKAGES = {
    "adamw_bnb": ("bitsandbytes", "quant"),
    "adamw_8bit": ("bitsandbytes", "quant"),
    "ademamix": ("bitsandbytes", "quant"),
    "lion": ("bitsandbytes", "quant"),
    "paged": ("bitsandbytes", "quant"),
    "rmsprop_bnb": ("bitsandbytes", "quant"),
    "adamw_torch_4bit": ("torchao", "quant"),
    "adamw_torch_8bit": ("torchao", "quant"),
    "schedule_free": ("schedulefree", "optim"),
    "stable_adamw": ("optimi", "optim"),
}
_NO_SAFE_STATE = (
    "keeps its projections as Python objects, which no file without pickle can hold: a run could not resume"
)
# Tried with transformers 5.23 and torch 2.13.
_UNUSABLE = {
    "adamw_torch_xla": "is torch_xla's, for TPUs; this run uses PyTorch's own devices",
    "adamw_torch_npu_fused": "is torch_npu's, for Ascend NPUs; this run uses PyTorch's own devices",
    "adamw_anyprecision": "needs torchdistx, which is archived and does not install beside this PyTorch",
    "adalomo": "needs lomo-optim, which calls CUDA without asking and steps on every micro-batch",
    "grokadamw": "does not resume: the package grokadamw leaves a part of its state out of the checkpoint",
    "galore_adamw_8bit": f"needs CUDA, and {_NO_SAFE_STATE}",
    "galore_adamw_8bit_layerwise": f"needs CUDA, and {_NO_SAFE_STATE}",
    "galore_adafactor": _NO_SAFE_STATE,
    "galore_adafactor_layerwise": "is refused by transformers' own Adafactor: lr and relative_step exclude each other",
}
_INSTEAD = {"galore": "galore_adamw", "adalomo": "adafactor or lomo"}
# Names that read nothing from optim_args.
_WITHOUT_ARGUMENTS = ("adamw_torch", "adamw_torch_fused", "adafactor", "adamw_bnb_8bit", "adamw_8bit", "lomo")


class NamedOptimizer(OptimizerPart):
    """One of ours under the name that `optim` has for it."""

    def __init__(self, build: Callable[[nn.Module, TrainingArguments], torch.optim.Optimizer]) -> None:
        self._build = build

    @property
    def steps_in_backward(self) -> bool:
        """Plain gradient descent of this kind has no other form."""
        return True

    def build(self, model: nn.Module, args: TrainingArguments) -> torch.optim.Optimizer:
        """Make the optimizer."""
        return self._build(model, args)


def transformers_name(optim: str) -> str:
    """Give the name that transformers is told: one that needs nothing where the optimizer is ours."""
    return "adamw_torch" if optim in OWN else optim


def named_optimizer(training: TrainingSection, *, finetuning_type: str) -> OptimizerPart | None:
    """Give the optimizer of ours that `optim` names, None for one of transformers'; refuse what cannot be used."""
    name = training.optim
    _refuse_unusable(name)
    _look_at_arguments(training)
    if name not in OWN:
        return None
    if finetuning_type not in ("full", "freeze"):
        raise _refused(name, f"works with finetuning_type full or freeze, not with {finetuning_type}")
    if name.endswith("layerwise") or name == "lomo":
        refuse_accumulation(f"optim: {name}", training.model_dump())
    if name == "lomo":
        return NamedOptimizer(build_lomo)
    return _galore(training) if name.startswith("galore") else _apollo(training)


def tell_remarks(training: TrainingSection, device: torch.device) -> None:
    """Warn of settings beside a named optimizer that do nothing or too much."""
    name, schedule = training.optim, training.lr_scheduler_type
    if name.startswith("paged") and device.type == "cpu":
        _warn(name, "pages its state between GPU and CPU; on a CPU it is the same without pages.")
    if name.startswith("schedule_free") and not schedule.startswith("constant"):
        said = f"needs no schedule of the learning rate, and {schedule} lowers it all the same."
        _warn(name, said, "Write lr_scheduler_type: constant.")


def _refuse_unusable(name: str) -> None:
    if name in _UNUSABLE:
        better = next((other for start, other in _INSTEAD.items() if name.startswith(start)), "adamw_torch")
        raise _refused(name, _UNUSABLE[name], f"Write optim: {better}.")
    for start, (package, extra) in _PACKAGES.items():
        if name.startswith(start) and not has_package(package):
            raise refusal(
                "environment.package_missing",
                f"optim: {name} needs the package {package!r}, which is not installed.",
                f"Install it with: pip install 'tunesmith[{extra}]'.",
                key="optim",
            )


def _look_at_arguments(training: TrainingSection) -> None:
    name = training.optim
    is_silent = name in _WITHOUT_ARGUMENTS or name.startswith(("lion", "paged_lion", "paged_adamw"))
    if training.optim_args and is_silent:
        raise refusal(
            "config.keys_conflict",
            f"optim: {name} reads no optim_args, so {training.optim_args} would have no effect.",
            "Leave optim_args out.",
            key="optim_args",
        )
    needs_targets = name.startswith(("galore", "apollo"))
    if needs_targets == bool(training.optim_target_modules):
        return
    if needs_targets:
        raise _refused(name, "needs optim_target_modules", "Write optim_target_modules: all-linear, or names.")
    raise refusal(
        "config.keys_conflict",
        f"optim: {name} works on all weights, so optim_target_modules would have no effect.",
        "Leave optim_target_modules out, or choose optim: galore_adamw or apollo_adamw.",
        key="optim_target_modules",
    )


def _galore(training: TrainingSection) -> OptimizerPart:
    given, take = _arguments(training)
    params = GaloreParams.model_validate(
        {
            "galore_target": training.optim_target_modules,
            "galore_rank": take("rank", 128),
            "galore_update_interval": take("update_proj_gap", 200),
            "galore_scale": take("scale", 0.25),
            "galore_proj_type": take("proj_type", "std"),
            "galore_layerwise": training.optim.endswith("layerwise"),
        }
    )
    _refuse_left(training.optim, given)
    return Galore(GaloreSwitch(use_galore=True), params)


def _apollo(training: TrainingSection) -> OptimizerPart:
    given, take = _arguments(training)
    params = ApolloParams.model_validate(
        {
            "apollo_target": training.optim_target_modules,
            "apollo_rank": take("rank", 128),
            "apollo_update_interval": take("update_proj_gap", 200),
            "apollo_scale": take("scale", 1.0),
            "apollo_proj": take("proj", "random"),
            "apollo_proj_type": take("proj_type", "std"),
            "apollo_scale_type": take("scale_type", "channel"),
            "apollo_layerwise": training.optim.endswith("layerwise"),
        }
    )
    _refuse_left(training.optim, given)
    return Apollo(ApolloSwitch(use_apollo=True), params)


def _arguments(training: TrainingSection) -> tuple[dict[str, str], Callable[[str, Any], Any]]:
    """Read `a=1,b=2`, and give a function that takes values out."""
    pairs = [part.partition("=") for part in (training.optim_args or "").replace(" ", "").split(",") if part]
    given = {key: value for key, _, value in pairs}
    return given, partial(_take, given)


def _take(given: dict[str, str], key: str, default: Any) -> Any:
    return given.pop(key, default)


def _refuse_left(name: str, given: dict[str, str]) -> None:
    if given:
        raise refusal(
            "config.value_invalid",
            f"optim: {name} knows no {', '.join(sorted(given))} in optim_args.",
            "Correct or remove it: rank, update_proj_gap, scale, proj_type"
            + (", proj, scale_type." if name.startswith("apollo") else "."),
            key="optim_args",
        )


def _refused(name: str, reason: str, remedy: str = "Choose another optimizer.") -> Exception:
    return refusal("config.optimizer_unusable", f"optim: {name} {reason}.", remedy, key="optim")


def _warn(name: str, message: str, remedy: str = "Nothing, if it is meant.") -> None:
    emit_warning(warning("training.optimizer_remark", f"optim: {name} {message}", remedy, key="optim"))
