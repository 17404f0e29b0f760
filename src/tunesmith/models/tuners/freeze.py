# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Partial fine-tuning: some layers or modules are trained, the rest is frozen; the whole model is saved.

The keys mean what they mean in LLaMA-Factory.
"""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field
from torch import nn
from transformers import PreTrainedModel

from tunesmith.config.section import Section
from tunesmith.core.errors import refusal, warning
from tunesmith.core.names import nearest
from tunesmith.core.report import emit_warning
from tunesmith.models.anatomy import decoder_layers
from tunesmith.models.reward_head import HEAD, is_reward_model
from tunesmith.models.tuners.base import refuse_nothing_trained, set_trained_dtype, tuners
from tunesmith.models.tuners.full import FullTuner


class FreezeParams(Section):
    """Keys of finetuning_type freeze."""

    section: ClassVar[str] = "freeze"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"finetuning_type": ("freeze",)}

    freeze_trainable_layers: int = Field(
        2, description="Number of layers to train: the last n, or with a negative number the first n."
    )
    freeze_trainable_modules: tuple[str, ...] = Field(
        ("all",), description="Modules to train inside those layers, such as mlp or self_attn, or all."
    )
    freeze_extra_modules: tuple[str, ...] | None = Field(
        None, description="Modules outside the layers to train as well, such as embed_tokens, norm or lm_head."
    )
    use_llama_pro: bool = Field(
        False, description="Train the layers that an expansion put in evenly; freeze_trainable_layers says how many."
    )


@tuners.register("freeze")
class FreezeTuner(FullTuner):
    """Trains chosen layers and modules."""

    Params: ClassVar[type[Section]] = FreezeParams

    def attach(self, model: PreTrainedModel) -> nn.Module:
        """Make the chosen weights trainable and freeze the rest."""
        assert isinstance(self.params, FreezeParams)
        trained = set(trained_names(model, self.params))
        for name, parameter in model.named_parameters(remove_duplicate=False):
            parameter.requires_grad_(name in trained)
        for name, parameter in model.named_parameters(remove_duplicate=False):
            if name in trained:  # a tied weight has two names; one of them suffices
                parameter.requires_grad_(True)
        refuse_nothing_trained(
            model,
            f"freeze_trainable_layers is {self.params.freeze_trainable_layers} and no extra module is named",
            "Write a number of layers, or freeze_extra_modules.",
        )
        set_trained_dtype(model, pure_bf16=self.pure_bf16)
        return model


def trained_names(model: nn.Module, params: FreezeParams) -> list[str]:
    """List the weights that the keys choose, or refuse names that do not exist in this model."""
    prefix, layers = decoder_layers(model)
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    inside = sorted({child for layer in layers for child, _ in layer.named_children()})
    outside = sorted({name.split(".")[-2] for name in names if not name.startswith(f"{prefix}.")})
    _refuse_unknown("freeze_trainable_modules", params.freeze_trainable_modules, ["all", *inside])
    _refuse_unknown("freeze_extra_modules", params.freeze_extra_modules or (), outside)
    starts = [
        f"{prefix}.{index}." if module == "all" else f"{prefix}.{index}.{module}."
        for index in _layer_indices(len(layers), params)
        for module in params.freeze_trainable_modules
    ]
    extra = {*(params.freeze_extra_modules or ()), *([HEAD] if is_reward_model(model) else [])}
    return [
        name
        for name in names
        if name.startswith(tuple(starts)) or (not name.startswith(f"{prefix}.") and name.split(".")[-2] in extra)
    ]


def _layer_indices(num_layers: int, params: FreezeParams) -> range:
    wanted = params.freeze_trainable_layers
    if params.use_llama_pro:
        return _expanded_layers(num_layers, wanted)
    if abs(wanted) > num_layers:
        emit_warning(
            warning(
                "tuner.layers_exceeded",
                f"freeze_trainable_layers is {wanted}, but the model has {num_layers} layers; all are trained.",
                f"Write at most {num_layers}.",
                key="freeze_trainable_layers",
            )
        )
    count = min(abs(wanted), num_layers)
    return range(num_layers - count, num_layers) if wanted > 0 else range(count)


def _expanded_layers(num_layers: int, wanted: int) -> range:
    """Give the last layer of each of `wanted` equal groups: there LLaMA-Pro's expansion puts the new ones."""
    if wanted < 1 or num_layers % wanted:
        raise refusal(
            "tuner.blocks_uneven",
            f"use_llama_pro: the model's {num_layers} layers cannot be cut into {wanted} equal groups, each of which "
            "ends with an added layer.",
            "Write the number of layers that were added into freeze_trainable_layers, or let finetuning_type: llamapro "
            "add them.",
            key="freeze_trainable_layers",
        )
    stride = num_layers // wanted
    return range(stride - 1, num_layers, stride)


def _refuse_unknown(key: str, wanted: Sequence[str], known: Sequence[str]) -> None:
    for name in wanted:
        if name not in known:
            raise refusal(
                "tuner.module_unknown",
                f"{key} names {name!r}, which this model does not have there.",
                f"Choose among: {', '.join(known)}." + nearest(name, known),
                key=key,
            )
