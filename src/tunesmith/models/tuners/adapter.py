# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Bottleneck adapters: a small two-layer network added to what a layer's parts give, x + U·f(D·x).

After the feed-forward part only (Pfeiffer, arXiv 2005.00247) or after attention too (Houlsby, arXiv 1902.00751). U
starts at zero, so the model starts as it was. Each token is changed by itself, so packed rows stay exact.
"""

from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import ACT2FN

from tunesmith.config.section import Section
from tunesmith.core.errors import refusal
from tunesmith.core.names import nearest
from tunesmith.models.anatomy import decoder_layers, hidden_size
from tunesmith.models.module_tuner import ModuleTuner, Mounted, Switch, change_output, mount
from tunesmith.models.tuners.base import tuners


class AdapterParams(Section):
    """Keys of finetuning_type adapter."""

    section: ClassVar[str] = "adapter"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"finetuning_type": ("adapter",)}

    adapter_length: int = Field(128, ge=1, description="Width of the bottleneck.")
    adapter_act: str = Field("gelu", description="Activation between its two layers, by transformers' name.")
    adapter_target: tuple[str, ...] = Field(
        ("mlp",), description="Parts of every decoder layer that it follows: mlp, or self_attn,mlp."
    )


class Bottleneck(Mounted):
    """x + U·f(D·x)."""

    def __init__(self, width: int, params: AdapterParams, switch: Switch) -> None:
        super().__init__(switch)
        self.down = nn.Linear(width, params.adapter_length)
        self.act = ACT2FN[params.adapter_act]
        self.up = nn.Linear(params.adapter_length, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, states: Tensor) -> Tensor:
        """Add the network's output, computed in its own number format."""
        added: Tensor = self.up(self.act(self.down(states.to(self.down.weight.dtype))))
        return states + added.to(states.dtype)


@tuners.register("adapter")
class BottleneckTuner(ModuleTuner):
    """Trains bottlenecks; the base model stays as it is."""

    Params: ClassVar[type[Section]] = AdapterParams
    merge_refused: ClassVar[str | None] = "a network with an activation is no change of a weight"

    def mount_all(self, model: PreTrainedModel, switch: Switch) -> None:
        """Put a bottleneck behind every named part of every decoder layer."""
        assert isinstance(self.params, AdapterParams)
        if self.params.adapter_act not in ACT2FN:
            raise _unknown("adapter_act", self.params.adapter_act, sorted(ACT2FN))
        _, layers = decoder_layers(model)
        for layer in layers:
            parts = dict(layer.named_children())
            for name in self.params.adapter_target:
                if name not in parts:
                    raise _unknown("adapter_target", name, sorted(parts))
                bottleneck = Bottleneck(hidden_size(model), self.params, switch)
                mount(parts[name], bottleneck)
                change_output(parts[name], bottleneck, switch)


def _unknown(key: str, name: str, known: list[str]) -> Exception:
    return refusal(
        "tuner.module_unknown",
        f"{key} names {name!r}, which does not exist here.",
        f"Choose among: {', '.join(known)}." + nearest(name, known),
        key=key,
    )
