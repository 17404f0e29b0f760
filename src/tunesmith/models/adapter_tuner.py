# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What tuners over PEFT have in common: loading, saving, merging, several adapters in order, the base view.

A tuner of this kind says which configuration of PEFT it uses and attaches a fresh adapter.
"""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from peft import PeftConfig, PeftModel, PeftType, TaskType, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from tunesmith.core.errors import refusal
from tunesmith.models.adapter_files import ADAPTER, copy_adapter, read_adapter_config, save_adapter
from tunesmith.models.added_tuner import AddedTuner
from tunesmith.models.merge import merge_adapter
from tunesmith.models.patches.peft_targets import literal_targets
from tunesmith.models.reward_head import own_head_of, refuse_other_head, with_reward_head
from tunesmith.models.targets import resolve_targets
from tunesmith.models.tuners.base import set_trained_dtype


class AdapterTuner(AddedTuner):
    """Trains what PEFT adds to a model; the base model stays as it is."""

    config_type: ClassVar[type[PeftConfig]]
    # Our keys → the names under which PEFT's configuration stores their values.
    saved_as: ClassVar[Mapping[str, str]] = {}

    def load(self, model: PreTrainedModel, folder: Path, *, is_trainable: bool) -> nn.Module:
        """Put a saved adapter on its base model."""
        config = read_adapter_config(folder, self.config_type)
        refuse_other_head(config, model, folder)
        wrapped = self._wrap(model, config)
        copy_adapter(wrapped, folder, kept=own_head_of(wrapped, config, folder))
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
        """Fold the adapter into the base weights in float32, or refuse where the method has no such weights."""
        if self.merge_refused is not None:
            raise self.refuse_merge()
        return merge_adapter(model)

    @contextlib.contextmanager
    def switched_off(self, model: nn.Module) -> Iterator[None]:
        """Let the model compute without the adapter."""
        assert isinstance(model, PeftModel)
        with model.disable_adapter():
            yield

    def saved_keys(self, folder: Path) -> Mapping[str, Any]:
        """Give the values of our keys that a saved adapter holds; targets only where they are names."""
        saved = read_adapter_config(folder, self.config_type)
        return {key: _comparable(name, getattr(saved, name)) for key, name in self.saved_as.items()}

    def wrap_fresh(
        self, model: PreTrainedModel, config: PeftConfig, finish: Callable[[PeftModel], None] | None = None
    ) -> PeftModel:
        """Put a fresh adapter on a model; `finish` sets its first values under the run's seed."""
        self._is_continued = False
        return self._wrap(model, config, finish)

    def _wrap(
        self, model: PreTrainedModel, config: PeftConfig, finish: Callable[[PeftModel], None] | None = None
    ) -> PeftModel:
        config = with_reward_head(config, model)
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), literal_targets():
            warnings.simplefilter("ignore")  # about tied weights, which `merge_adapter` unties when it must
            torch.manual_seed(self.seed)
            try:
                wrapped = get_peft_model(model, config, adapter_name=ADAPTER, autocast_adapter_dtype=not self.pure_bf16)
            except ValueError as error:
                raise _unfit(config, error) from error
            assert isinstance(wrapped, PeftModel)
            if finish is not None:
                finish(wrapped)
        set_trained_dtype(wrapped, pure_bf16=self.pure_bf16)
        return wrapped


def _unfit(config: PeftConfig, error: ValueError) -> Exception:
    return refusal(
        "tuner.shape_unfit",
        f"PEFT cannot put an adapter of type {PeftType(config.peft_type).value} on this model: "
        f"{' '.join(str(error).split())[:300]}",
        "Choose other sizes, or fewer modules to adapt.",
        key="finetuning_type",
    )


def _comparable(name: str, value: Any) -> Any:
    """Give a saved value in the form that keys have; targets only where they are names, not an expression."""
    if isinstance(value, list | set | tuple):
        return tuple(sorted(value))
    return None if name == "target_modules" else value


class LayerTuner(AdapterTuner):
    """A tuner over PEFT on linear layers, all of whose keys are settings of PEFT's under other names (`saved_as`)."""

    # Settings of PEFT's that no key changes.
    fixed: ClassVar[Mapping[str, Any]] = {}

    def attach(self, model: PreTrainedModel) -> nn.Module:
        """Add a fresh adapter, which starts as the identity."""
        return self.wrap_fresh(model, self.configure(model))

    def configure(self, model: PreTrainedModel) -> PeftConfig:
        """Say in PEFT's words what the keys ask for on this model."""
        values = self.params.model_dump()
        settings = {self.saved_as[key]: value for key, value in values.items()}
        key = next(key for key, name in self.saved_as.items() if name == "target_modules")
        settings["target_modules"] = resolve_targets(model, values[key], key=key, adaptable=(nn.Linear,))
        return self.config_type(task_type=TaskType.CAUSAL_LM, **self.fixed, **settings)
