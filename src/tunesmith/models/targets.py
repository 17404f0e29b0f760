# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Which modules of a model an adapter goes on: all linear layers, names, or regular expressions over whole paths.

A target that matches nothing is refused, because it would be passed over without a word.
"""

import re
from collections.abc import Sequence
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from tunesmith.core.errors import refusal
from tunesmith.core.names import nearest
from tunesmith.models.quantizers.base import is_quantised_layer

Kinds = tuple[type[nn.Module], ...]
ADAPTABLE: Kinds = (nn.Linear, nn.Embedding, Conv1D)
_REGEX_SIGNS = frozenset("\\^$*+?()[]{}|")
# Linear layers of a model's own kind that compute what a plain one computes.
_PLAIN_PRODUCTS = {"FalconLinear"}
# Layers whose adapter would learn nothing, by model type. Mamba's kernels read weights past their modules in training,
# its dt_proj is read so everywhere, and so are two others; what only chooses keys or experts gives no gradient.
_INDEXERS = ("axk2", "deepseek_v32", "dots3_note", "dots3_note_text", "glm_moe_dsa", "hy_v4")
_OUT_OF_REACH: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("falcon_mamba", "mamba"), ("dt_proj", "out_proj", "x_proj")),
    **dict.fromkeys(("bamba", "falcon_h1", "granitemoehybrid", "mamba2", "nemotron_h", "zamba2"), ("out_proj",)),
    **dict.fromkeys(_INDEXERS, ("weights_proj", "wk", "wq_b")),
    **dict.fromkeys(("qwen4_exp", "qwen4_exp_text"), ("index_qk_proj",)),
    "deepseek_v4": ("weights_proj",),
    "gemma3n_text": ("correction_coefs",),
    "jamba": ("dt_proj",),
    "longcat_flash": ("classifier",),
}


def resolve_targets(
    model: nn.Module, wanted: Sequence[str], *, key: str, adaptable: Kinds = ADAPTABLE
) -> list[str] | str:
    """Turn a key's targets into PEFT's: a sorted list of module names, or one expression for whole paths."""
    if list(wanted) == ["all"]:
        names = all_linear_names(model)
        _refuse_other_kinds(model, names, key, adaptable)
        return names
    for target in wanted:
        _refuse_no_match(model, target, key, adaptable)
    if any(_is_regex(target) for target in wanted):
        return "|".join(target if _is_regex(target) else rf"(?:.*\.)?{re.escape(target)}" for target in wanted)
    return sorted(set(wanted))


def _refuse_other_kinds(model: nn.Module, names: Sequence[str], key: str, adaptable: Kinds) -> None:
    """Refuse a model whose layers are linear, but of a kind that the adapter does not take (GPT-2's Conv1D)."""
    found = {_short_name(name) for name, module in model.named_modules() if _is_kind(module, adaptable)}
    others = sorted(set(names) - found)
    if others:
        raise refusal(
            "tuner.target_unknown",
            f"{key}: all means {', '.join(names)} here, but {', '.join(others)} are of a kind that it cannot adapt.",
            "Write finetuning_type: lora for this model.",
            key=key,
        )


def all_linear_names(model: nn.Module) -> list[str]:
    """List the names of all linear layers but the heads, as LLaMA-Factory's `lora_target: all` does.

    A layer of a numbered list has its list's name too, because numbers alone name layers of the model as well.
    """
    head: Any = getattr(model, "get_output_embeddings", lambda: None)()
    linear = {
        name: module
        for name, module in model.named_modules()
        if (isinstance(module, nn.Linear | Conv1D) or is_quantised_layer(module)) and module is not head
    }
    unfit = {_short_name(name) for name, module in linear.items() if _computes_otherwise(module)}
    beyond = _OUT_OF_REACH.get(getattr(getattr(model, "config", None), "model_type", ""), ())
    return sorted({_short_name(name) for name in linear} - unfit - {"lm_head", "score", *beyond})


def _short_name(name: str) -> str:
    parts = name.split(".")
    return ".".join(parts[-2:]) if parts[-1].isdecimal() else parts[-1]


def _computes_otherwise(module: nn.Module) -> bool:
    """Recognise linear layers of a model's own kind that give no plain product: routers, layers in groups."""
    kind = type(module)
    is_own = kind.__module__.startswith("transformers.models.") and kind is not Conv1D
    return is_own and isinstance(module, nn.Linear) and kind.__name__ not in _PLAIN_PRODUCTS


def _is_kind(module: nn.Module, adaptable: Kinds) -> bool:
    return isinstance(module, adaptable) or is_quantised_layer(module)


def _is_regex(target: str) -> bool:
    return any(sign in target for sign in _REGEX_SIGNS)


def _refuse_no_match(model: nn.Module, target: str, key: str, adaptable: Kinds) -> None:
    names = sorted({name.split(".")[-1] for name, module in model.named_modules() if _is_kind(module, adaptable)})
    try:
        pattern = re.compile(target if _is_regex(target) else rf"(?:.*\.)?{re.escape(target)}")
    except re.error as error:
        raise _target_refused(names, target, key, f"is no valid regular expression ({error})") from error
    matched = [module for name, module in model.named_modules() if pattern.fullmatch(name)]
    if not matched:
        raise _target_refused(names, target, key, "matches no module of this model")
    if not any(_is_kind(module, adaptable) for module in matched):
        kinds = sorted({type(module).__name__ for module in matched})
        raise _target_refused(names, target, key, f"matches only modules that it cannot adapt ({', '.join(kinds)})")


def _target_refused(names: Sequence[str], target: str, key: str, reason: str) -> Exception:
    return refusal(
        "tuner.target_unknown",
        f"{key} {target!r} {reason}.",
        f"Write all, or choose among: {', '.join(names)}." + nearest(target, names),
        key=key,
    )
