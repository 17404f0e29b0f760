# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What tuners of our own modules have in common: modules mounted into a frozen model, saved under their names.

A tuner of this kind mounts its modules and says what they compute; the folder it writes looks like PEFT's, with a type
that only we read.
"""

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn
from transformers import PreTrainedModel

from tunesmith.core.errors import refusal
from tunesmith.models.adapter_files import CONFIG_FILE, copy_tensors, read_adapter_weights, read_settings, write_folder
from tunesmith.models.added_tuner import AddedTuner
from tunesmith.models.anatomy import base_model
from tunesmith.models.reward_head import head_untrained, is_reward_model
from tunesmith.models.tuners.base import set_trained_dtype

_KEYS = "tunesmith_keys"
_MOUNTED = "tuned"


@dataclass(kw_only=True)
class Switch:
    """Says whether the mounted modules of one model compute."""

    is_on: bool = True


class Mounted(nn.Module):
    """A module mounted into a frozen model; it computes while its switch is on."""

    def __init__(self, switch: Switch) -> None:
        super().__init__()
        self.switch = switch


def mount(host: nn.Module, module: Mounted) -> None:
    """Put a module into another, where `named_parameters` finds it under the host's name."""
    assert _MOUNTED not in dict(host.named_children()), "one adapter of our own a module"
    host.add_module(_MOUNTED, module)


def change_output(host: nn.Module, change: Callable[[Tensor], Tensor], switch: Switch) -> None:
    """Let every call of a module give `change` of its (first) result while the switch is on."""

    def hook(_: nn.Module, __: Any, output: Any) -> Any:
        if not switch.is_on:
            return output
        if isinstance(output, tuple):
            return (change(output[0]), *output[1:])
        return change(output)

    host.register_forward_hook(hook)


class ModuleTuner(AddedTuner):
    """Trains modules of our own inside a frozen model."""

    @abstractmethod
    def mount_all(self, model: PreTrainedModel, switch: Switch) -> None:
        """Create the modules, mount them, and hook them in; the random state is the run's seed."""

    def attach(self, model: PreTrainedModel) -> nn.Module:
        """Mount fresh modules and freeze the rest."""
        self._is_continued = False
        return self._mount(model)

    def load(self, model: PreTrainedModel, folder: Path, *, is_trainable: bool) -> nn.Module:
        """Mount the modules that a folder describes, with its values."""
        self.params = self._saved_params(folder)
        self._mount(model)
        self._is_continued = True
        self.restore(model, folder)
        if not is_trainable:
            model.requires_grad_(False)
            model.eval()
        return model

    def restore(self, model: nn.Module, folder: Path) -> None:
        """Copy saved values into the mounted modules."""
        with torch.no_grad():
            copy_tensors(read_adapter_weights(folder), mounted_tensors(model), folder)

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the mounted modules, and the keys that shaped them."""
        settings = {"peft_type": self._type, _KEYS: self.params.model_dump(mode="json")}
        write_folder(mounted_tensors(model), settings, folder)

    def merge(self, model: nn.Module) -> PreTrainedModel:
        """Refuse: what these modules compute is no weight of the model."""
        raise self.refuse_merge()

    @contextlib.contextmanager
    def switched_off(self, model: nn.Module) -> Iterator[None]:
        """Let the model compute without the modules."""
        switches = [module.switch for module in model.modules() if isinstance(module, Mounted)]
        for switch in switches:
            switch.is_on = False
        try:
            yield
        finally:
            for switch in switches:
                switch.is_on = True

    def saved_keys(self, folder: Path) -> Mapping[str, Any]:
        """Give the values of our keys that a saved adapter holds."""
        values: dict[str, Any] = self._saved_params(folder).model_dump()
        return values

    @property
    def _type(self) -> str:
        return f"TUNESMITH_{self.Params.section.upper()}"

    def _saved_params(self, folder: Path) -> Any:
        settings = read_settings(folder, wanted=self._type, finetuning_type=self.Params.section)
        try:
            return self.Params.model_validate(settings.get(_KEYS))
        except ValidationError as error:
            raise refusal(
                "tuner.adapter_unsupported",
                f"{folder / CONFIG_FILE} does not hold the keys of this finetuning_type: {error.errors()[0]['msg']}.",
                "Use the version that wrote the adapter, or train it again.",
                key="adapter_name_or_path",
                file=str(folder / CONFIG_FILE),
            ) from error

    def _mount(self, model: PreTrainedModel) -> nn.Module:
        if is_reward_model(model):
            raise head_untrained(self.Params.section)
        model.requires_grad_(False)
        device, dtype = next((p.device, p.dtype) for p in model.parameters() if p.is_floating_point())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.mount_all(model, Switch())
        for module in model.modules():
            if isinstance(module, Mounted):
                module.to(device=device, dtype=dtype).requires_grad_(True)
        set_trained_dtype(model, pure_bf16=self.pure_bf16)
        return model


def mounted_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Give the values of all mounted modules under their names in the model; they share memory with it."""
    found = {
        f"{name}.{key}": value
        for name, module in base_model(model).named_modules()
        if isinstance(module, Mounted)
        for key, value in module.state_dict(keep_vars=False).items()
    }
    return {name: found[name] for name in sorted(found)}
