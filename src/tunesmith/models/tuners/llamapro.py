# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""LLaMA-Pro: new decoder layers between the old ones are trained, the old ones frozen (arXiv 2401.02415).

Each new layer is a copy of the one before it whose last projections are zero, so the model starts as it was. The whole
model is saved, with more layers in its configuration; LLaMA-Factory wants it expanded by a script beforehand.
"""

import copy
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import nn
from transformers import PreTrainedModel

from tunesmith.config.section import Section
from tunesmith.core.errors import refusal
from tunesmith.models.anatomy import decoder_layers
from tunesmith.models.reward_head import active_head, is_reward_model
from tunesmith.models.saved_weights import copy_whole_model
from tunesmith.models.tuners.base import set_trained_dtype, tuners
from tunesmith.models.tuners.full import FullTuner

# Projections that end the two halves of a layer; with both at zero a layer adds nothing.
_ENDS = (("o_proj", "out_proj", "c_proj", "dense"), ("down_proj", "c_proj", "fc2", "dense_4h_to_h", "w2"))


class LlamaProParams(Section):
    """Keys of finetuning_type llamapro."""

    section: ClassVar[str] = "llamapro"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"finetuning_type": ("llamapro",)}

    llamapro_num_new_blocks: int = Field(4, ge=1, description="Number of new decoder layers.")
    llamapro_num_groups: int | None = Field(
        None, ge=1, description="Number of places they are put in, evenly; unset: one place for each."
    )


@tuners.register("llamapro")
class LlamaProTuner(FullTuner):
    """Trains new layers."""

    Params: ClassVar[type[Section]] = LlamaProParams

    def load(self, model: PreTrainedModel, folder: Path, *, is_trainable: bool) -> nn.Module:
        """Copy a saved expanded model into a model that is not expanded yet."""
        self.attach(model)
        if not is_trainable:
            model.requires_grad_(False)
        copy_whole_model(model, folder)
        return model

    def attach(self, model: PreTrainedModel) -> nn.Module:
        """Put the new layers in and freeze the rest."""
        assert isinstance(self.params, LlamaProParams)
        model.requires_grad_(False)
        for layer in expand(model, self.params.llamapro_num_new_blocks, self.params.llamapro_num_groups):
            layer.requires_grad_(True)
        if is_reward_model(model):
            active_head(model).requires_grad_(True)
        set_trained_dtype(model, pure_bf16=self.pure_bf16)
        return model


def expand(model: PreTrainedModel, num_new: int, num_groups: int | None) -> list[nn.Module]:
    """Put new layers behind every group of old ones, in place, and give them."""
    name, layers = decoder_layers(model)
    groups = num_groups or num_new
    if len(layers) % groups or num_new % groups:
        raise refusal(
            "tuner.blocks_uneven",
            f"{num_new} new layers cannot be put evenly into {groups} places between {len(layers)} layers.",
            "Choose llamapro_num_new_blocks and llamapro_num_groups so that the groups divide both numbers.",
            key="llamapro_num_new_blocks",
        )
    each, more = len(layers) // groups, num_new // groups
    sources: list[int] = []  # the old layer behind each place
    new: list[nn.Module] = []
    grown: list[nn.Module] = []
    for index, layer in enumerate(layers):
        grown.append(layer)
        sources.append(index)
        if (index + 1) % each == 0:
            copies = [_silent_copy(layer, model) for _ in range(more)]
            grown, new, sources = [*grown, *copies], [*new, *copies], [*sources, *[index] * more]
    parent, _, last = name.rpartition(".")
    model.get_submodule(parent).add_module(last, nn.ModuleList(grown))
    for index, layer in enumerate(grown):
        _renumber(layer, index)
    _grow_config(model, sources, num_old=len(layers))
    return new


@torch.no_grad()
def _silent_copy(layer: nn.Module, model: PreTrainedModel) -> nn.Module:
    """Copy a layer and let it add nothing to what passes; it reads the model's own configuration, as the others do."""
    shared = (model.config, model.config.get_text_config())
    twin = copy.deepcopy(layer, {id(config): config for config in shared})
    found = [[parameter for name, parameter in twin.named_parameters() if _ends_in(name, ends)] for ends in _ENDS]
    if not all(found):
        raise refusal(
            "tuner.blocks_unsupported",
            f"A layer of type {type(layer).__name__} has no two last projections that could be set to zero.",
            "Use another finetuning_type for this model.",
            key="finetuning_type",
        )
    for parameter in {id(parameter): parameter for half in found for parameter in half}.values():
        parameter.zero_()
    return twin


def _ends_in(name: str, ends: tuple[str, ...]) -> bool:
    """Say whether a weight or bias belongs to a last projection; fused experts hold theirs without a module."""
    return any(part.removesuffix("_bias") in ends for part in name.split(".")[-2:])


def _renumber(layer: nn.Module, index: int) -> None:
    """Write a layer's number where its parts keep it: the cache is addressed by it."""
    for module in layer.modules():
        if isinstance(vars(module).get("layer_idx"), int):
            vars(module)["layer_idx"] = index


def _grow_config(model: PreTrainedModel, sources: list[int], *, num_old: int) -> None:
    """Say in the configuration what every layer is, the new ones included."""
    config: Any = model.config.get_text_config()
    for name, value in list(vars(config).items()):
        if isinstance(value, list) and len(value) == num_old:
            setattr(config, name, [value[source] for source in sources])
    config.num_hidden_layers = len(sources)
