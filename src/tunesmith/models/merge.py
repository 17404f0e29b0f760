# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Merging a LoRA adapter into its base weights: in float32, module by module, exactly what the adapter computed."""

import warnings
from typing import Any

from peft import PeftModel
from peft.tuners.lora.layer import ParamWrapper
from peft.tuners.trainable_tokens.layer import TrainableTokensLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers import PreTrainedModel

from tunesmith.core.errors import refusal
from tunesmith.models.adapter_files import adapter_tensors
from tunesmith.models.quantizers.base import is_quantised
from tunesmith.models.saved_weights import refuse_non_finite


def merge_adapter(model: nn.Module) -> PreTrainedModel:
    """Fold the adapter into the base weights (each upcast to float32 meanwhile) and give the plain model."""
    assert isinstance(model, PeftModel)
    if is_quantised(model):
        raise refusal(
            "model.quantization_not_trainable",
            "An adapter cannot be merged into quantised weights: quantising the sum anew would change it.",
            "Use `tunesmith export`, which merges into the dequantised weights that it was trained on.",
            key="quantization_bit",
        )
    refuse_non_finite(adapter_tensors(model).items())
    _refuse_shared_weights(model)
    _untie_adapted_head(model)
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            _merge_layer(module)
    tuner: Any = model.base_model
    with warnings.catch_warnings():  # PEFT says that layers are merged already, and that the head is untied
        warnings.simplefilter("ignore")
        merged = tuner.merge_and_unload()
    assert isinstance(merged, PreTrainedModel)
    return merged


def _merge_layer(layer: BaseTunerLayer) -> None:
    base: Any = layer.get_base_layer()
    dtype = _weight_of(layer).dtype
    base.float()
    layer.merge(safe_merge=True, adapter_names=layer.active_adapters)
    base.to(dtype)


def _refuse_shared_weights(model: nn.Module) -> None:
    """Refuse layers that share one weight and were adapted apart: one weight cannot hold both additions."""
    names: dict[int, str] = {}
    base: Any = model.get_base_model()  # type: ignore[operator]
    ends = (base.get_input_embeddings(), base.get_output_embeddings())
    for name, module in model.named_modules():
        if isinstance(module, BaseTunerLayer) and module not in ends:
            other = names.setdefault(_weight_of(module).data_ptr(), name)
            if other != name:
                raise refusal(
                    "tuner.merge_impossible",
                    f"{other} and {name} share one weight and were adapted apart, so no merged weight computes both.",
                    "Use the adapter beside its base, or adapt modules that no two layers share (lora_target).",
                    key="lora_target",
                )


def _weight_of(layer: BaseTunerLayer) -> Tensor:
    weight = layer.get_param() if isinstance(layer, ParamWrapper) else layer.get_base_layer().weight
    assert isinstance(weight, Tensor)
    return weight


def _untie_adapted_head(model: PeftModel) -> None:
    """Give head and embedding weights of their own when an adapter on one of them would change both."""
    base: Any = model.get_base_model()
    ends = [base.get_input_embeddings(), base.get_output_embeddings()]
    adapted = [end for end in ends if isinstance(end, BaseTunerLayer)]
    shares_rows = all(isinstance(end, TrainableTokensLayer) for end in adapted)  # the same rows change in both
    if None in ends or not adapted or shares_rows:
        return
    layers: list[Any] = [end.get_base_layer() if isinstance(end, BaseTunerLayer) else end for end in ends]
    embedding, head = layers
    if head.weight is embedding.weight:
        head.weight = nn.Parameter(head.weight.detach().clone(), requires_grad=head.weight.requires_grad)
        base.config.tie_word_embeddings = base.config.get_text_config().tie_word_embeddings = False
