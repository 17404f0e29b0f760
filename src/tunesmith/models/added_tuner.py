# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What tuners that add something to a model share: several adapters in order, continued or fresh, and the base view.

The base model stays as it is; `AdapterTuner` adds PEFT's modules, `ModuleTuner` our own.
"""

import contextlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from torch import nn
from transformers import PreTrainedModel

from tunesmith.config.section import Section
from tunesmith.core.errors import refusal
from tunesmith.models.quantizers.base import is_quantised
from tunesmith.models.tuners.base import Tuner


class AddedTuner(Tuner):
    """Trains what it adds to a model."""

    takes_quantised: ClassVar[bool] = True
    keeps_base_cheaply: ClassVar[bool] = True

    def __init__(self, params: Section, *, seed: int = 42, pure_bf16: bool = False) -> None:
        super().__init__(params, seed=seed, pure_bf16=pure_bf16)
        self._is_continued = False

    @abstractmethod
    def switched_off(self, model: nn.Module) -> contextlib.AbstractContextManager[None]:
        """Let the model compute without what was added."""

    def prepare(self, model: PreTrainedModel, adapters: Sequence[Path], *, is_trainable: bool) -> nn.Module:
        """Merge adapters in order; in training the last is continued, or a fresh one follows them all."""
        if adapters and is_quantised(model):
            return self._prepare_quantised(model, adapters, is_trainable=is_trainable)
        continues = is_trainable and bool(adapters) and not self.merges_all()
        keeps_last = continues or (self.merge_refused is not None and bool(adapters))
        for folder in adapters[:-1] if keeps_last else adapters:
            model = self.merge(self.load(model, folder, is_trainable=False))
        if keeps_last:
            return self.load(model, adapters[-1], is_trainable=continues)
        return self.attach(model) if is_trainable else model

    def _prepare_quantised(self, model: PreTrainedModel, adapters: Sequence[Path], *, is_trainable: bool) -> nn.Module:
        """Put one adapter beside quantised weights: merging into them would quantise them anew."""
        if not self.takes_quantised:
            raise refusal(
                "model.quantization_not_trainable",
                f"An adapter of finetuning_type {self.Params.section} computes with the model's own weights in full, "
                "which are quantised here.",
                "Leave out quantization_bit, or merge the adapter with `tunesmith export` first.",
                key="quantization_bit",
            )
        if len(adapters) > 1 or (is_trainable and self.merges_all()):
            raise refusal(
                "model.quantization_not_trainable",
                f"{len(adapters)} adapters and a fresh one after them would have to be merged into quantised weights, "
                "which would quantise those anew."
                if is_trainable and self.merges_all()
                else f"{len(adapters)} adapters would have to be merged into quantised weights.",
                "Merge them with `tunesmith export` first, or leave out quantization_bit.",
                key="adapter_name_or_path",
            )
        return self.load(model, adapters[0], is_trainable=is_trainable)

    @property
    def base_source(self) -> str:
        """Say in words what `base_view` shows."""
        if self._is_continued:
            return "a frozen copy of the adapter as it was loaded"
        return "the adapter switched off" if self.starts_as_identity else "a frozen copy of the adapter's start"

    def remember_base(self, model: nn.Module) -> None:
        """Keep the values of a continued adapter; a fresh one that starts as the identity need only be switched off."""
        if self._needs_copy:
            super().remember_base(model)

    @contextlib.contextmanager
    def start_view(self, model: nn.Module) -> Iterator[None]:
        """Switch a fresh adapter off where it changes nothing yet; others stay, because they are what is remembered."""
        with contextlib.nullcontext() if self._needs_copy else self.switched_off(model):
            yield

    @contextlib.contextmanager
    def base_view(self, model: nn.Module) -> Iterator[None]:
        """Show the model as this run found it: without a fresh adapter, with a continued one as it was loaded."""
        with super().base_view(model) if self._needs_copy else self.switched_off(model):
            yield

    @property
    def _needs_copy(self) -> bool:
        return self._is_continued or not self.starts_as_identity

    def merges_all(self) -> bool:
        """Say whether a fresh adapter follows the loaded ones, instead of the last being continued."""
        return False

    def refuse_merge(self) -> Exception:
        """Say why what was added cannot become part of the weights."""
        return refusal(
            "tuner.merge_impossible",
            f"An adapter of this kind cannot be merged: {self.merge_refused}.",
            "Use it with adapter_name_or_path beside its base model, which chat, predict and evaluation do.",
            key="adapter_name_or_path",
        )
