# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""LoRA and its scaling variants (rsLoRA, DoRA) through PEFT: low-rank additions to linear layers (arXiv 2106.09685).

The keys mean what they mean in LLaMA-Factory; a target that matches nothing is refused instead of passed over.
"""

import contextlib
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from pydantic import Field
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from tunesmith.config.section import Section
from tunesmith.core.errors import refusal
from tunesmith.core.names import nearest
from tunesmith.models.adapter_files import ADAPTER, copy_adapter, read_adapter_config, save_adapter
from tunesmith.models.merge import merge_adapter
from tunesmith.models.tuners.base import Tuner, set_trained_dtype, tuners

_ADAPTABLE = (nn.Linear, nn.Embedding, Conv1D)
_REGEX_SIGNS = frozenset("\\^$*+?()[]{}|")


class LoraParams(Section):
    """Keys of finetuning_type lora."""

    section: ClassVar[str] = "lora"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"finetuning_type": ("lora",)}

    lora_rank: int = Field(8, ge=1, description="Rank of the added matrices.")
    lora_alpha: int | None = Field(None, ge=1, description="Scale of the addition; unset: twice the rank.")
    lora_dropout: float = Field(0.0, ge=0.0, lt=1.0, description="Dropout before the added matrices.")
    lora_target: tuple[str, ...] = Field(
        ("all",), description="Modules to adapt: all linear layers, names such as q_proj, or a regular expression."
    )
    additional_target: tuple[str, ...] | None = Field(
        None, description="Modules outside LoRA to train and save whole, such as embed_tokens or lm_head."
    )
    use_rslora: bool = Field(False, description="Scale by the square root of the rank (rsLoRA, arXiv 2312.03732).")
    use_dora: bool = Field(False, description="Train magnitude and direction apart (DoRA, arXiv 2402.09353).")
    create_new_adapter: bool = Field(
        False, description="Merge all loaded adapters and train a fresh one, instead of continuing the last."
    )


@tuners.register("lora")
class LoraTuner(Tuner):
    """Trains low-rank additions; the base model stays as it is."""

    Params: ClassVar[type[Section]] = LoraParams

    def __init__(self, params: Section, *, seed: int = 42, pure_bf16: bool = False) -> None:
        super().__init__(params, seed=seed, pure_bf16=pure_bf16)
        self._is_continued = False

    def attach(self, model: PreTrainedModel) -> nn.Module:
        """Add a fresh adapter, which starts as the identity."""
        assert isinstance(self.params, LoraParams)
        params = self.params
        config = LoraConfig(
            task_type=TaskType.CAUSAL_LM,
            r=params.lora_rank,
            lora_alpha=2 * params.lora_rank if params.lora_alpha is None else params.lora_alpha,
            lora_dropout=params.lora_dropout,
            target_modules=resolve_targets(model, params.lora_target),
            modules_to_save=_whole_modules(model, params.additional_target),
            use_rslora=params.use_rslora,
            use_dora=params.use_dora,
        )
        self._is_continued = False
        return self._wrap(model, config)

    def load(self, model: PreTrainedModel, folder: Path, *, is_trainable: bool) -> nn.Module:
        """Put a saved adapter on its base model."""
        wrapped = self._wrap(model, read_adapter_config(folder))
        copy_adapter(wrapped, folder)
        self._is_continued = True
        if not is_trainable:
            wrapped.requires_grad_(False)
            wrapped.eval()
        return wrapped

    def restore(self, model: nn.Module, folder: Path) -> None:
        """Copy a saved adapter's values into the attached one."""
        assert isinstance(model, PeftModel)
        copy_adapter(model, folder)

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the adapter in PEFT's format."""
        assert isinstance(model, PeftModel)
        save_adapter(model, folder)

    def merge(self, model: nn.Module) -> PreTrainedModel:
        """Fold the adapter into the base weights in float32."""
        return merge_adapter(model)

    def prepare(self, model: PreTrainedModel, adapters: Sequence[Path], *, is_trainable: bool) -> nn.Module:
        """Merge adapters in order; in training the last is continued, or a fresh one follows them all."""
        assert isinstance(self.params, LoraParams)
        continues = is_trainable and bool(adapters) and not self.params.create_new_adapter
        for folder in adapters[:-1] if continues else adapters:
            model = self.merge(self.load(model, folder, is_trainable=False))
        if continues:
            return self.load(model, adapters[-1], is_trainable=True)
        return self.attach(model) if is_trainable else model

    @property
    def base_source(self) -> str:
        """Say in words what `base_view` shows."""
        return "a frozen copy of the adapter as it was loaded" if self._is_continued else "the adapter switched off"

    def remember_base(self, model: nn.Module) -> None:
        """Keep the values of a continued adapter; a fresh one need only be switched off."""
        if self._is_continued:
            super().remember_base(model)

    @contextlib.contextmanager
    def base_view(self, model: nn.Module) -> Iterator[None]:
        """Show the model as it was before this run: without a fresh adapter, with a continued one as it was loaded."""
        assert isinstance(model, PeftModel)
        with super().base_view(model) if self._is_continued else model.disable_adapter():
            yield

    def _wrap(self, model: PreTrainedModel, config: LoraConfig) -> PeftModel:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about tied weights, which `merge_adapter` unties when it must
            torch.manual_seed(self.seed)
            wrapped = get_peft_model(model, config, adapter_name=ADAPTER, autocast_adapter_dtype=not self.pure_bf16)
        assert isinstance(wrapped, PeftModel)
        set_trained_dtype(wrapped, pure_bf16=self.pure_bf16)
        return wrapped


def resolve_targets(model: nn.Module, wanted: Sequence[str]) -> list[str] | str:
    """Turn `lora_target` into PEFT's targets: a sorted list of module names, or one expression for whole paths."""
    if list(wanted) == ["all"]:
        return all_linear_names(model)
    for target in wanted:
        _refuse_no_match(model, target)
    if any(_is_regex(target) for target in wanted):
        return "|".join(target if _is_regex(target) else rf"(?:.*\.)?{re.escape(target)}" for target in wanted)
    return sorted(set(wanted))


def all_linear_names(model: nn.Module) -> list[str]:
    """List the names of all linear layers but the output head, as LLaMA-Factory's `lora_target: all` does."""
    head: Any = getattr(model, "get_output_embeddings", lambda: None)()
    linear = {
        name.split(".")[-1]
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    }
    return sorted(linear - {"lm_head"})


def _is_regex(target: str) -> bool:
    return any(sign in target for sign in _REGEX_SIGNS)


def _refuse_no_match(model: nn.Module, target: str) -> None:
    try:
        pattern = re.compile(target if _is_regex(target) else rf"(?:.*\.)?{re.escape(target)}")
    except re.error as error:
        raise _target_refused(model, target, f"is no valid regular expression ({error})") from error
    matched = [module for name, module in model.named_modules() if pattern.fullmatch(name)]
    if not matched:
        raise _target_refused(model, target, "matches no module of this model")
    if not any(isinstance(module, _ADAPTABLE) for module in matched):
        kinds = sorted({type(module).__name__ for module in matched})
        raise _target_refused(model, target, f"matches only modules that LoRA cannot adapt ({', '.join(kinds)})")


def _target_refused(model: nn.Module, target: str, reason: str) -> Exception:
    names = sorted({name.split(".")[-1] for name, module in model.named_modules() if isinstance(module, _ADAPTABLE)})
    return refusal(
        "tuner.target_unknown",
        f"lora_target {target!r} {reason}.",
        f"Write all, or choose among: {', '.join(names)}." + nearest(target, names),
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
