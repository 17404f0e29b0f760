# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What tuners over PEFT have in common: loading, saving, merging, several adapters in order, the base view.

A tuner of this kind says which configuration of PEFT it uses and attaches a fresh adapter.
"""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import ClassVar

import torch
from peft import PeftConfig, PeftModel, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from tunesmith.config.section import Section
from tunesmith.models.adapter_files import ADAPTER, copy_adapter, read_adapter_config, save_adapter
from tunesmith.models.merge import merge_adapter
from tunesmith.models.reward_head import own_head_of, refuse_other_head, with_reward_head
from tunesmith.models.tuners.base import Tuner, set_trained_dtype


class AdapterTuner(Tuner):
    """Trains what PEFT adds to a model; the base model stays as it is."""

    config_type: ClassVar[type[PeftConfig]]
    keeps_base_cheaply: ClassVar[bool] = True
    # Our keys → the names under which PEFT's configuration stores their values.
    saved_as: ClassVar[Mapping[str, str]] = {}

    def __init__(self, params: Section, *, seed: int = 42, pure_bf16: bool = False) -> None:
        super().__init__(params, seed=seed, pure_bf16=pure_bf16)
        self._is_continued = False

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
        """Fold the adapter into the base weights in float32."""
        return merge_adapter(model)

    def prepare(self, model: PreTrainedModel, adapters: Sequence[Path], *, is_trainable: bool) -> nn.Module:
        """Merge adapters in order; in training the last is continued, or a fresh one follows them all."""
        continues = is_trainable and bool(adapters) and not self.merges_all()
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
    def start_view(self, model: nn.Module) -> Iterator[None]:
        """Switch a fresh adapter off, which changes nothing yet; a continued one stays."""
        with nullcontext() if self._is_continued else self.base_view(model):
            yield

    @contextlib.contextmanager
    def base_view(self, model: nn.Module) -> Iterator[None]:
        """Show the model as it was before this run: without a fresh adapter, with a continued one as it was loaded."""
        assert isinstance(model, PeftModel)
        with super().base_view(model) if self._is_continued else model.disable_adapter():
            yield

    def merges_all(self) -> bool:
        """Say whether a fresh adapter follows the loaded ones, instead of the last being continued."""
        return False

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
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about tied weights, which `merge_adapter` unties when it must
            torch.manual_seed(self.seed)
            wrapped = get_peft_model(
                model, with_reward_head(config, model), adapter_name=ADAPTER, autocast_adapter_dtype=not self.pure_bf16
            )
            assert isinstance(wrapped, PeftModel)
            if finish is not None:
                finish(wrapped)
        set_trained_dtype(wrapped, pure_bf16=self.pure_bf16)
        return wrapped
