# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Models with a scalar head: a backbone and one linear layer `score`, as transformers' sequence classification has it.

A language model gets a fresh head; a saved reward model keeps its own, LLaMA-Factory's value_head.safetensors included.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, TaskType
from peft.utils import ModulesToSaveWrapper
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)

from tunesmith.core.errors import refusal
from tunesmith.models.anatomy import base_model
from tunesmith.models.folder import check_folder
from tunesmith.models.load import (
    default_device,
    judge_loading,
    load_as,
    load_model_config,
    on_device,
    skeleton_as,
)
from tunesmith.models.quantized_loading import loading_plan
from tunesmith.models.quantizers.base import Quantization
from tunesmith.models.value_head_file import has_value_head, read_value_head, stored_names

HEAD = "score"
HEAD_WEIGHT = f"{HEAD}.weight"
# Heads of other kinds that a folder may hold; a scalar head stands in their place.
_OTHER_HEADS = ("lm_head.", "v_head.")
# What PEFT itself trains whole for sequence classification.
_PEFTS_HEADS = {HEAD, "classifier"}


def load_reward_model(
    folder: Path,
    *,
    dtype: torch.dtype,
    attention: str = "forest",
    device: torch.device | None = None,
    seed: int = 42,
    quantization: Quantization | None = None,
) -> PreTrainedModel:
    """Load a backbone with a scalar head: the folder's own, or a fresh one whose weights `seed` fixes.

    `quantization` quantises the linear layers but the head while they load.
    """
    check_folder(folder)
    config = _scalar_config(folder)
    place = device or default_device()
    plan = loading_plan(folder, quantization, place)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, info = load_as(
            AutoModelForSequenceClassification, folder, config, dtype=dtype, attention=attention, plan=plan
        )
    head = _head_of(model, folder)
    info = {
        "missing_keys": [name for name in info["missing_keys"] if name != HEAD_WEIGHT],
        "unexpected_keys": [name for name in info["unexpected_keys"] if not name.startswith(_OTHER_HEADS)],
    }
    judge_loading(folder, info)
    if has_value_head(folder):
        _fill(head, read_value_head(folder), folder)
    elif not has_head(folder):
        _start(head, model.config, seed)
    return on_device(model, place, plan)


def load_reward_skeleton(folder: Path) -> PreTrainedModel:
    """Build the modules without weights (on the meta device)."""
    model = skeleton_as(AutoModelForSequenceClassification, folder, _scalar_config(folder))
    _head_of(model, folder)
    return model


def has_head(folder: Path) -> bool:
    """Say whether a model folder or an adapter holds the weights of a scalar head."""
    return has_value_head(folder) or any(name.endswith(HEAD_WEIGHT) for name in stored_names(folder))


def refuse_headless(folder: Path, adapters: list[Path]) -> None:
    """Refuse to score with a model that was never trained to."""
    if not any(has_head(place) for place in (folder, *adapters)):
        raise refusal(
            "model.reward_head_missing",
            f"{adapters[-1] if adapters else folder} holds no reward head, so its scores would be random numbers.",
            "Name a reward model: the output folder of stage rm, or its base model with adapter_name_or_path.",
            key="model_name_or_path",
            file=str(folder),
        )


def is_reward_model(model: nn.Module) -> bool:
    """Say whether a model has a scalar head in place of the language head."""
    return HEAD in dict(base_model(model).named_children())


def with_reward_head(config: Any, model: nn.Module) -> Any:
    """Let an adapter on a reward model train the head whole, and say what it is for; others stay as they are."""
    if not is_reward_model(model):
        return config
    if "modules_to_save" not in vars(config):
        raise head_untrained(config.peft_type)
    named: Any = getattr(config, "modules_to_save", None)
    others = sorted({*(named or ())} - _PEFTS_HEADS)
    return replace(config, task_type=TaskType.SEQ_CLS, modules_to_save=others or None)


def head_untrained(kind: Any) -> Exception:
    """Say that a tuner cannot train a reward head."""
    return refusal(
        "tuner.reward_head_untrained",
        f"A tuner of type {getattr(kind, 'value', kind)} trains what it adds and nothing else, so the fresh reward "
        "head would stay as it was drawn.",
        "Write finetuning_type: lora, or another one that trains the head beside it.",
        key="finetuning_type",
    )


def own_head_of(model: nn.Module, config: PeftConfig, folder: Path) -> dict[str, Tensor]:
    """Give the head of an adapter that stores none itself: LLaMA-Factory's beside it, or else the base model's.

    An adapter of a language model that a reward model is begun from has none; a saved reward adapter must have its own.
    """
    if not is_reward_model(model) or config.task_type == TaskType.SEQ_CLS:
        return {}
    value = read_value_head(folder) if has_value_head(folder) else active_head(model).weight.detach().clone()
    return {f"base_model.model.{HEAD_WEIGHT}": value}


def refuse_other_head(config: PeftConfig, model: nn.Module, folder: Path) -> None:
    """Refuse an adapter of a reward model on a model that writes."""
    if config.task_type == TaskType.SEQ_CLS and not is_reward_model(model):
        raise refusal(
            "model.reward_only",
            f"{folder} is the adapter of a reward model: it judges answers and writes none.",
            "Use it with stage: rm or `tunesmith score`; name another adapter for everything else.",
            key="adapter_name_or_path",
            file=str(folder),
        )


def values_of(model: nn.Module, states_SD: Tensor) -> Tensor:
    """Give the head's value of each hidden state, computed in float32 also where the model's numbers are shorter."""
    weight_1D = active_head(model).weight
    dtype = torch.promote_types(states_SD.dtype, torch.float32)
    with torch.autocast(states_SD.device.type, enabled=False):
        return functional.linear(states_SD.to(dtype), weight_1D.to(dtype))[:, 0]


def active_head(model: nn.Module) -> nn.Linear:
    """Give the head that works now: the adapter's, or without it that of the base model."""
    head: Any = base_model(model).get_submodule(HEAD)
    if isinstance(head, ModulesToSaveWrapper):
        works = bool(head.active_adapters) and not head.disable_adapters
        head = head.modules_to_save[head.active_adapters[0]] if works else head.original_module
    assert isinstance(head, nn.Linear), f"{type(head).__name__} is no linear head"
    return head


def set_padding(model: nn.Module, pad_id: int, last_id: int, vocabulary: int) -> int:
    """Choose the token by whose absence transformers finds a row's last token; the last one itself cannot be it."""
    config: Any = base_model(model).config
    own = [token for token in (pad_id, config.pad_token_id) if token is not None and token != last_id]
    chosen = own[0] if own else next(token for token in (vocabulary - 1, vocabulary - 2) if token != last_id)
    config.pad_token_id = config.get_text_config().pad_token_id = chosen
    return int(chosen)


def _scalar_config(folder: Path) -> Any:
    config: Any = load_model_config(folder)
    if type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        raise _no_place_for_head(config, folder)
    if has_head(folder) and not has_value_head(folder) and config.num_labels != 1:
        raise refusal(
            "model.reward_unsupported",
            f"{folder} sorts texts into {config.num_labels} classes; a reward model gives one number.",
            "Name a language model, or a sequence classification model with num_labels 1.",
            key="model_name_or_path",
            file=str(folder / "config.json"),
        )
    config.num_labels = 1
    return config


def _head_of(model: PreTrainedModel, folder: Path) -> nn.Linear:
    head: Any = dict(model.named_children()).get(HEAD)
    if not isinstance(head, nn.Linear):
        raise _no_place_for_head(model.config, folder)
    return head


def _no_place_for_head(config: Any, folder: Path) -> Exception:
    return refusal(
        "model.reward_unsupported",
        f"For sequence classification transformers gives models of type {config.model_type} no linear head {HEAD}.",
        "Use a model of another type, such as llama, mistral, qwen2, qwen3, gemma or phi3.",
        key="model_name_or_path",
        file=str(folder / "config.json"),
    )


@torch.no_grad()
def _fill(head: nn.Linear, weight_1D: Tensor, folder: Path) -> None:
    if weight_1D.shape != head.weight.shape:
        raise refusal(
            "model.weights_incomplete",
            f"The value head in {folder} is of shape {tuple(weight_1D.shape)}, the model's of "
            f"{tuple(head.weight.shape)}.",
            "Use the value head with the model it was trained on.",
            file=str(folder),
        )
    head.weight.copy_(weight_1D)


@torch.no_grad()
def _start(head: nn.Linear, config: Any, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    spread = float(getattr(config.get_text_config(), "initializer_range", 0.02))
    head.weight.copy_(torch.randn(head.weight.shape, generator=generator) * spread)
