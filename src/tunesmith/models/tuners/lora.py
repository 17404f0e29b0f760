# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""LoRA and its scaling variants (rsLoRA, DoRA) through PEFT: low-rank additions to linear layers (arXiv 2106.09685).

The keys mean what they mean in LLaMA-Factory; a target that matches nothing is refused instead of passed over.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from peft import LoraConfig, PeftConfig, PeftModel, TaskType
from peft.tuners.lora import LoraLayer
from pydantic import Field
from torch import nn
from transformers import PreTrainedModel

from tunesmith.config.section import Section
from tunesmith.core.errors import Problem, refusal, warning
from tunesmith.core.names import nearest
from tunesmith.core.report import emit_warning
from tunesmith.core.types import Batch
from tunesmith.models.adapter_files import read_adapter_config
from tunesmith.models.adapter_tuner import AdapterTuner
from tunesmith.models.layer_statistics import Loss
from tunesmith.models.learned_start import RANKS, Corda, Direction, Eva, LearnedStart, LoraGa, Scale, set_ranks
from tunesmith.models.lora_start import (
    StartRule,
    activate_start,
    add_start,
    has_start,
    restore_with_start,
    save_with_start,
)
from tunesmith.models.targets import resolve_targets
from tunesmith.models.tuners.base import set_trained_dtype, tuners

_PEFT_STARTS: dict[str, Any] = {"gaussian": "gaussian", "orthogonal": "orthogonal"}
_PLAIN_STARTS = ("default", *_PEFT_STARTS)


class LoraParams(Section):
    """Keys of finetuning_type lora."""

    section: ClassVar[str] = "lora"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"finetuning_type": ("lora",)}

    lora_rank: int = Field(
        8,
        ge=1,
        description="Rank of the added matrices; auto: by the number of trained tokens.",
        json_schema_extra={"automatic": True},
    )
    lora_alpha: int | None = Field(None, ge=1, description="Scale of the addition; unset: twice the rank.")
    lora_dropout: float = Field(0.0, ge=0.0, lt=1.0, description="Dropout before the added matrices.")
    lora_target: tuple[str, ...] = Field(
        ("all",), description="Modules to adapt: all linear layers, names such as q_proj, or a regular expression."
    )
    additional_target: tuple[str, ...] | None = Field(
        None, description="Modules outside LoRA to train and save whole, such as embed_tokens or lm_head."
    )
    target_parameters: tuple[str, ...] | None = Field(
        None, description="Fused expert weights to adapt too, such as mlp.experts.down_proj; experts: all of them."
    )
    rank_pattern: dict[str, int] | None = Field(
        None, description="Ranks of some modules by name or expression, such as {down_proj: 32}."
    )
    alpha_pattern: dict[str, int] | None = Field(
        None, description="Scales of some modules by name or expression; others follow lora_alpha."
    )
    init_lora_weights: Literal[
        "default", "gaussian", "orthogonal", "pissa", "olora", "eva", "lora_ga", "corda", "loftq"
    ] = Field(
        "default",
        description="Start of the added matrices: of pissa, olora from the weights, of eva, lora_ga, corda also rows.",
    )
    start_rows: int = Field(
        128, ge=1, description="Training rows, evenly spread, that eva, lora_ga and corda read before the first step."
    )
    eva_rho: float = Field(
        2.0, ge=1.0, description="Most rank that eva gives a layer, in multiples of lora_rank; 1: all alike."
    )
    lora_ga_direction: Direction = Field(
        "ArB2r", description="Which singular directions of the gradient lora_ga gives to A and to B."
    )
    lora_ga_scale: Scale = Field(
        "stable", description="Size of lora_ga's factors: stable (by the paper), gd, unit or weightS (as the weight)."
    )
    lora_ga_stable_gamma: float = Field(
        16.0, gt=0.0, description="Divides lora_ga's factors by its root: smaller is larger."
    )
    pissa_init: bool = Field(
        False, description="Start from the largest singular directions of the weights (PiSSA, arXiv 2404.02948)."
    )
    pissa_iter: int = Field(
        16, ge=-1, description="Iterations of the decomposition of pissa and corda; -1: an exact one."
    )
    use_rslora: bool = Field(False, description="Scale by the square root of the rank (rsLoRA, arXiv 2312.03732).")
    use_dora: bool = Field(False, description="Train magnitude and direction apart (DoRA, arXiv 2402.09353).")
    create_new_adapter: bool = Field(
        False, description="Merge all loaded adapters and train a fresh one, instead of continuing the last."
    )


@tuners.register("lora")
class LoraTuner(AdapterTuner):
    """Trains low-rank additions; the base model stays as it is."""

    Params: ClassVar[type[Section]] = LoraParams
    config_type: ClassVar[type[PeftConfig]] = LoraConfig
    saved_as: ClassVar[Mapping[str, str]] = {
        "lora_rank": "r",
        "lora_alpha": "lora_alpha",
        "lora_target": "target_modules",
        "use_rslora": "use_rslora",
        "use_dora": "use_dora",
    }

    def attach(self, model: PreTrainedModel) -> nn.Module:
        """Add a fresh adapter, which starts as the identity."""
        assert isinstance(self.params, LoraParams)
        params = self.params
        config = LoraConfig(
            task_type=TaskType.CAUSAL_LM,
            r=params.lora_rank,
            lora_alpha=2 * params.lora_rank if params.lora_alpha is None else params.lora_alpha,
            lora_dropout=params.lora_dropout,
            target_modules=resolve_targets(model, params.lora_target, key="lora_target"),
            target_parameters=_expert_weights(model, params),
            modules_to_save=_whole_modules(model, params.additional_target),
            rank_pattern=params.rank_pattern or {},
            alpha_pattern=_alphas(params),
            init_lora_weights=_PEFT_STARTS.get(params.init_lora_weights, True),
            use_rslora=params.use_rslora,
            use_dora=params.use_dora,
        )
        rule, learned = _start_rule(params), _learned_start(params)
        has_base = rule is not None or (learned is not None and learned.subtracts)
        wrapped = self.wrap_fresh(
            model, config, finish=partial(add_start, config=config, rule=rule) if has_base else None
        )
        _refuse_idle_patterns(wrapped, params)
        if learned is not None:
            learned.check(wrapped)
        return wrapped

    @property
    def start_rows(self) -> int:
        """Say how many training rows the start is made from; 0 for one that reads none, or that was loaded."""
        assert isinstance(self.params, LoraParams)
        return 0 if self._is_continued or _learned_start(self.params) is None else self.params.start_rows

    def learn_start(self, model: nn.Module, batches: Iterable[Batch], loss: Loss) -> Mapping[str, Any]:
        """Choose the first values by rows of the run."""
        assert isinstance(self.params, LoraParams) and isinstance(model, PeftModel)
        start = _learned_start(self.params)
        assert start is not None, "called where start_rows is not 0"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            choices = start.learn(model, batches, loss)
        set_trained_dtype(model, pure_bf16=self.pure_bf16)
        return choices

    def repeat_start(self, model: nn.Module, choices: Mapping[str, Any]) -> Mapping[str, Any]:
        """Give the layers the ranks that the first start chose; their values come from the checkpoint."""
        if RANKS not in choices:
            return {}
        assert isinstance(model, PeftModel)
        set_ranks(model, choices[RANKS])
        set_trained_dtype(model, pure_bf16=self.pure_bf16)
        return {RANKS: choices[RANKS]}

    def restore(self, model: nn.Module, folder: Path) -> None:
        """Copy a saved adapter's values into the attached one, and into its start where it has one."""
        if has_start(model):
            assert isinstance(model, PeftModel)
            restore_with_start(model, folder)
        else:
            super().restore(model, folder)

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the adapter in PEFT's format, together with its start where it has one."""
        if has_start(model):
            assert isinstance(model, PeftModel)
            save_with_start(model, folder)
        else:
            super().save(model, folder)

    def saved_keys(self, folder: Path) -> Mapping[str, Any]:
        """Give the values of our keys that a saved adapter holds."""
        saved = read_adapter_config(folder, self.config_type)
        return {
            **super().saved_keys(folder),
            "additional_target": tuple(sorted(saved.modules_to_save)) if saved.modules_to_save else None,
            "target_parameters": tuple(sorted(saved.target_parameters)) if saved.target_parameters else None,
            "rank_pattern": dict(saved.rank_pattern or {}) or None,
            "alpha_pattern": dict(saved.alpha_pattern or {}) or None,
            "init_lora_weights": "default",
            "pissa_init": False,
        }

    def merges_all(self) -> bool:
        """Say whether a fresh adapter follows the loaded ones."""
        assert isinstance(self.params, LoraParams)
        return self.params.create_new_adapter

    @contextlib.contextmanager
    def base_view(self, model: nn.Module) -> Iterator[None]:
        """Show the model as it was before this run, and let a start work again afterwards."""
        try:
            with super().base_view(model):
                yield
        finally:
            if has_start(model):
                activate_start(model)


def _start_rule(params: LoraParams) -> StartRule | None:
    kind = "pissa" if params.pissa_init else params.init_lora_weights
    if kind != "pissa" and kind != "olora":
        return None
    return StartRule(kind=kind, iterations=params.pissa_iter)


def _learned_start(params: LoraParams) -> LearnedStart | None:
    if params.init_lora_weights == "eva":
        return Eva(rho=params.eva_rho)
    if params.init_lora_weights == "lora_ga":
        direction, scale = params.lora_ga_direction, params.lora_ga_scale
        return LoraGa(direction=direction, scale=scale, gamma=params.lora_ga_stable_gamma)
    return Corda(iterations=params.pissa_iter) if params.init_lora_weights == "corda" else None


def _alphas(params: LoraParams) -> dict[str, int]:
    """Give the scales that differ; without lora_alpha, modules of another rank have twice that rank."""
    twice = {name: 2 * rank for name, rank in (params.rank_pattern or {}).items()} if params.lora_alpha is None else {}
    return {**twice, **(params.alpha_pattern or {})}


def _refuse_idle_patterns(model: nn.Module, params: LoraParams) -> None:
    adapted = [
        name.removeprefix("base_model.model.")
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer)
    ]
    for key, pattern in (("rank_pattern", params.rank_pattern), ("alpha_pattern", params.alpha_pattern)):
        for name in pattern or {}:
            if not any(re.match(rf"(.*\.)?({name})$", module) for module in adapted):
                ends = sorted({module.split(".")[-1] for module in adapted})
                raise refusal(
                    "tuner.target_unknown",
                    f"{key} names {name!r}, which matches no adapted module.",
                    f"Choose among: {', '.join(ends)}." + nearest(name, ends),
                    key=key,
                )


def _expert_weights(model: nn.Module, params: LoraParams) -> list[str] | None:
    """Name the fused expert weights (3-D, one for all experts) to adapt, and say when all of them stay."""
    fused = fused_experts(model)
    wanted = set(params.target_parameters or ())
    ends = {name: re.sub(r".*\.\d+\.", "", name) for name in fused}  # without the layer: mlp.experts.down_proj
    chosen = {name for name, end in ends.items() if "experts" in wanted or wanted & {end, end.split(".")[-1]}}
    unknown = sorted(wanted - {"experts"} - {word for end in ends.values() for word in (end, end.split(".")[-1])})
    if unknown or (wanted and not fused):
        raise refusal(
            "tuner.target_unknown",
            f"target_parameters names {', '.join(unknown or sorted(wanted))}, which is no fused expert weight here.",
            f"Choose among: {', '.join(sorted(set(ends.values())))}." if fused else "Leave it out: there are none.",
            key="target_parameters",
        )
    if chosen:
        _refuse_unfit(params)
    idle = {name: fused[name] for name in fused if name not in chosen}
    if idle and not chosen and list(params.lora_target) == ["all"]:
        emit_warning(_frozen_experts(idle))
    return sorted({ends[name] for name in chosen}) or None


def fused_experts(model: nn.Module) -> dict[str, nn.Parameter]:
    """List the weights that hold all experts of a layer in one tensor."""
    return {name: weight for name, weight in model.named_parameters() if weight.ndim == 3 and "expert" in name}


def _refuse_unfit(params: LoraParams) -> None:
    unfit = {
        "lora_dropout": params.lora_dropout > 0,
        "use_dora": params.use_dora,
        "pissa_init or init_lora_weights": params.pissa_init or params.init_lora_weights not in _PLAIN_STARTS,
    }
    for key, is_set in unfit.items():
        if is_set:
            raise refusal(
                "tuner.experts_unfit",
                f"target_parameters adapts weights of experts inside their own computation, which {key} does not fit.",
                "Leave one of them out.",
                key="target_parameters",
            )


def _frozen_experts(idle: Mapping[str, nn.Parameter]) -> Problem:
    names = sorted({name.split(".")[-1] for name in idle})
    return warning(
        "tuner.experts_frozen",
        f"The experts of this model are fused weights ({', '.join(names)}, in all "
        f"{sum(weight.numel() for weight in idle.values()):,} parameters), which lora_target: all does not reach: "
        "they stay frozen.",
        "Write target_parameters: experts where they must change.",
        key="lora_target",
    )


def _whole_modules(model: nn.Module, wanted: Sequence[str] | None) -> list[str] | None:
    names = sorted({name.split(".")[-1] for name, module in model.named_modules() if name and _has_weights(module)})
    for target in wanted or ():
        if target.split(".")[-1] not in names:
            raise refusal(
                "tuner.target_unknown",
                f"additional_target {target!r} matches no module of this model.",
                f"Choose among: {', '.join(names)}." + nearest(target, names),
                key="additional_target",
            )
    return sorted(set(wanted)) if wanted else None


def _has_weights(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None
