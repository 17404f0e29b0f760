# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""LoRA and its scaling variants (rsLoRA, DoRA) through PEFT: low-rank additions to linear layers (arXiv 2106.09685).

The keys mean what they mean in LLaMA-Factory; a target that matches nothing is refused instead of passed over.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from peft import LoraConfig, PeftConfig, PeftModel, TaskType
from peft.tuners.lora import LoraLayer
from pydantic import Field
from torch import nn
from transformers import PreTrainedModel

from tunesmith.config.section import Section
from tunesmith.core.errors import Problem, refusal, warning
from tunesmith.core.names import nearest
from tunesmith.core.report import emit_warning
from tunesmith.models.adapter_files import read_adapter_config
from tunesmith.models.adapter_tuner import AdapterTuner
from tunesmith.models.lora_start import (
    StartRule,
    activate_start,
    add_start,
    has_start,
    restore_with_start,
    save_with_start,
)
from tunesmith.models.targets import resolve_targets
from tunesmith.models.tuners.base import tuners

_PEFT_STARTS: dict[str, Any] = {"gaussian": "gaussian", "orthogonal": "orthogonal"}


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
    init_lora_weights: Literal["default", "gaussian", "orthogonal", "pissa", "olora"] = Field(
        "default", description="Start of the added matrices; pissa and olora take it from the base weights."
    )
    pissa_init: bool = Field(
        False, description="Start from the largest singular directions of the weights (PiSSA, arXiv 2404.02948)."
    )
    pissa_iter: int = Field(16, ge=-1, description="Iterations of PiSSA's decomposition; -1: an exact one.")
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
        rule = _start_rule(params)
        wrapped = self.wrap_fresh(model, config, finish=partial(add_start, config=config, rule=rule) if rule else None)
        _refuse_idle_patterns(wrapped, params)
        return wrapped

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
        "pissa_init or init_lora_weights": params.pissa_init or params.init_lora_weights in ("pissa", "olora"),
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
