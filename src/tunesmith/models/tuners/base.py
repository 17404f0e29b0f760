# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The contract of a tuner: which weights of a model are trained, how they are saved, loaded, merged and hidden.

PEFT does the work underneath where it has the method. A tuner never sees losses or the trainer, and of the data only
the batches that a start asks for.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tunesmith.config.section import Section
from tunesmith.core.errors import refusal
from tunesmith.core.registry import Registry
from tunesmith.core.types import Batch
from tunesmith.models.layer_statistics import Loss


class Tuner(ABC):
    """One way to train a model. Subclass, set `Params`, register with `@tuners.register("name")`."""

    Params: ClassVar[type[Section]]
    # Whether the model computes the same right after `attach` as before.
    starts_as_identity: ClassVar[bool] = True
    # Why the result cannot become a plain model ("because …"); None where `merge` works.
    merge_refused: ClassVar[str | None] = None
    # Whether it trains beside weights that are quantised, and leaves those as they are.
    takes_quantised: ClassVar[bool] = False
    # Whether `base_view` holds no second copy of large weights, so that what the base answers can wait for the end.
    keeps_base_cheaply: ClassVar[bool] = False

    def __init__(self, params: Section, *, seed: int = 42, pure_bf16: bool = False) -> None:
        """`seed` fixes the start of new weights; `pure_bf16` keeps trained weights in the model's own dtype."""
        self.params = params
        self.seed = seed
        self.pure_bf16 = pure_bf16
        self._base_values: dict[str, Tensor] = {}

    @abstractmethod
    def attach(self, model: PreTrainedModel) -> nn.Module:
        """Choose or add the weights to train, freeze the rest, and give the model to train."""

    @abstractmethod
    def load(self, model: PreTrainedModel, folder: Path, *, is_trainable: bool) -> nn.Module:
        """Put saved weights of this kind on a base model, to train on or only to use."""

    @abstractmethod
    def restore(self, model: nn.Module, folder: Path) -> None:
        """Copy saved weights into a model that `attach` or `load` gave, in place."""

    @abstractmethod
    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the trained weights as safetensors into an existing folder, and check what was written."""

    @abstractmethod
    def merge(self, model: nn.Module) -> PreTrainedModel:
        """Give a plain model that computes the same without this tuner's modules."""

    def prepare(self, model: PreTrainedModel, adapters: Sequence[Path], *, is_trainable: bool) -> nn.Module:
        """Build the model of a run from `adapter_name_or_path`: none here, tuners with adapters override this."""
        assert not adapters, "configuration rules refuse adapters for this tuner"
        return self.attach(model) if is_trainable else model

    @property
    def start_rows(self) -> int:
        """Say from how many training rows `learn_start` makes the first values; 0 where it is not to be called."""
        return 0

    def learn_start(self, model: nn.Module, batches: Iterable[Batch], loss: Loss) -> Mapping[str, Any]:
        """Choose the first values of the trained weights by rows of the run; called once, before any optimizer.

        Gives what a resumed run must know, in JSON, before it takes back the values of a checkpoint.
        """
        raise AssertionError("called where start_rows is not 0")

    def repeat_start(self, model: nn.Module, choices: Mapping[str, Any]) -> Mapping[str, Any]:
        """Give the trained weights the shapes that `learn_start` chose, and name them again.

        A checkpoint brings the values. `choices` are all that it holds.
        """
        return {}

    def saved_keys(self, folder: Path) -> Mapping[str, Any]:
        """Give the values of our keys that a saved adapter holds, or refuse one that cannot be used."""
        raise AssertionError("configuration rules refuse adapters for this tuner")

    def penalty(self, model: nn.Module) -> Tensor | float:
        """Give what is added to the loss of every optimizer step; most tuners add nothing."""
        return 0.0

    def after_step(self, model: nn.Module, *, step: int, num_steps: int) -> None:
        """Do what follows every optimizer step (counted from 1), while its gradients are still there."""
        return

    def running_state(self, model: nn.Module) -> dict[str, Tensor]:
        """Give what `after_step` has gathered and a checkpoint must hold besides the weights."""
        return {}

    def restore_running(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Take back what `running_state` gave."""
        assert not state, "this tuner keeps no state of its own"

    @property
    def base_source(self) -> str:
        """Say in words what `base_view` shows, for the record of the run."""
        return "a frozen copy of the trained weights as the run began"

    def remember_base(self, model: nn.Module) -> None:
        """Keep the trained weights as they are now; call once before training when `base_view` will be needed."""
        self._base_values = {name: parameter.detach().clone() for name, parameter in trained_parameters(model)}

    @contextlib.contextmanager
    def start_view(self, model: nn.Module) -> Iterator[None]:
        """Show the model as `base_view` will, before anything was trained: as it is, or more cheaply."""
        yield

    @contextlib.contextmanager
    def base_view(self, model: nn.Module) -> Iterator[None]:
        """Let the model behave as it did at `remember_base` (no backward pass inside)."""
        assert self._base_values, "remember_base was not called before training"
        parameters = dict(model.named_parameters())  # an optimizer may have frozen some of them for a while
        trained = {name: parameters[name].data for name in self._base_values}
        _point_at(parameters, self._base_values)
        try:
            yield
        finally:
            _point_at(parameters, trained)


def _point_at(parameters: dict[str, nn.Parameter], values: dict[str, Tensor]) -> None:
    # Autocast keeps casts by tensor identity and would hand out those of the other values.
    torch.clear_autocast_cache()
    for name, value in values.items():
        parameters[name].data = value


def trained_parameters(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """List the parameters that are trained, in the model's order."""
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def set_trained_dtype(model: nn.Module, *, pure_bf16: bool) -> None:
    """Hold trained weights in float32 unless `pure_bf16`; half-precision weights lose small updates."""
    if pure_bf16:
        return
    for _, parameter in trained_parameters(model):
        parameter.data = parameter.data.float()


def refuse_nothing_trained(model: nn.Module, reason: str, remedy: str) -> None:
    """Refuse a model of which no weight would be trained."""
    if not trained_parameters(model):
        raise refusal("tuner.nothing_trained", f"No weight would be trained: {reason}.", remedy)


tuners: Registry[type[Tuner]] = Registry("tuner", "tunesmith.models.tuners", code="config.tuner_unknown")
