# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Prefix tuning: the keys and values of some virtual tokens are trained in every layer (arXiv 2101.00190).

As in the paper they begin as those of real words: what the layer computes for the words, plus a trained offset that is
zero at first. The words themselves stay. The model does not start as it was. Packed rows share the prefix.
"""

from collections.abc import Callable
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel

from tunesmith.config.section import Section
from tunesmith.core.errors import refusal
from tunesmith.models.anatomy import backbone, decoder_layers
from tunesmith.models.module_tuner import ModuleTuner, Mounted, Switch, change_output, mount
from tunesmith.models.tuners.base import tuners
from tunesmith.models.virtual_tokens import VirtualTokens

_PROJECTIONS = ("k_proj", "v_proj")


class PrefixTuningParams(Section):
    """Keys of finetuning_type prefix_tuning."""

    section: ClassVar[str] = "prefix_tuning"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"finetuning_type": ("prefix_tuning",)}

    prefix_num_tokens: int = Field(20, ge=1, description="Number of virtual tokens whose keys and values are trained.")


class Offset(Mounted):
    """Trained offsets of one projection's results for the virtual tokens."""

    def __init__(self, count: int, width: int, switch: Switch) -> None:
        super().__init__(switch)
        self.offsets = nn.Parameter(torch.zeros(count, width))

    def beside(self, tokens: VirtualTokens) -> Callable[[Tensor], Tensor]:
        """Give the change of the projection's result, in passes that read the virtual tokens."""

        def change(states: Tensor) -> Tensor:
            if not tokens.is_reading:
                return states
            ahead = states[:, : tokens.count] + self.offsets.to(states.dtype)
            return torch.cat([ahead, states[:, tokens.count :]], dim=1)

        return change


@tuners.register("prefix_tuning")
class PrefixTuningTuner(ModuleTuner):
    """Trains keys and values of virtual tokens; the base model stays as it is."""

    Params: ClassVar[type[Section]] = PrefixTuningParams
    starts_as_identity: ClassVar[bool] = False
    merge_refused: ClassVar[str | None] = "keys and values of virtual tokens are an input, not a weight"

    def mount_all(self, model: PreTrainedModel, switch: Switch) -> None:
        """Put the words before the backbone, and offsets behind every projection of keys and values."""
        assert isinstance(self.params, PrefixTuningParams)
        tokens = VirtualTokens(model, self.params.prefix_num_tokens, switch)
        _, layers = decoder_layers(model)
        for layer in layers:
            found = {name.split(".")[-1]: module for name, module in layer.named_modules() if name}
            for name in _PROJECTIONS:
                projection = found.get(name)
                if projection is None:
                    raise _no_projection(model, name)
                offset = Offset(tokens.count, int(projection.out_features), switch)
                mount(projection, offset)
                change_output(projection, offset.beside(tokens), switch)
        mount(backbone(model), tokens)
        tokens.install(model)


def _no_projection(model: PreTrainedModel, name: str) -> Exception:
    return refusal(
        "tuner.module_unknown",
        f"Prefix tuning needs a {name} in every layer, and models of type {model.config.model_type} compute keys and "
        "values in another way.",
        "Write finetuning_type: prompt_tuning, which needs no place inside the layers.",
        key="finetuning_type",
    )
