# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Trees of Python values and tensors ↔ one JSON file and one safetensors file, exactly and without pickle.

Holds the states of optimizers, schedulers, scalers and random generators. It knows nothing of what they mean.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from tunesmith.core.errors import refusal
from tunesmith.core.optional import import_optional

# A JSON object with one of these keys stands for a value that JSON has no form for.
_TENSOR, _ARRAY, _TUPLE, _PAIRS, _DTYPE, _PACKED = "$tensor", "$array", "$tuple", "$pairs", "$dtype", "$packed"
_TAGS = {_TENSOR, _ARRAY, _TUPLE, _PAIRS, _DTYPE, _PACKED}
# Tensors of torchao made of other tensors, and the module of each; no other type is ever built from a file.
_PACKED_TYPES = {"OptimState8bit": "torchao.optim.subclass_8bit", "OptimState4bit": "torchao.optim.subclass_4bit"}


def save_tree(tree: Any, folder: Path, name: str) -> None:
    """Write a tree of dicts, lists, tuples, numbers, texts, arrays and tensors as `<name>.json` (+ `.safetensors`)."""
    tensors: dict[str, torch.Tensor] = {}
    text = json.dumps(_encode(tree, name, tensors), indent=1)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    if tensors:
        save_file(tensors, folder / f"{name}.safetensors")


def load_tree(folder: Path, name: str) -> Any:
    """Read what `save_tree` wrote; tensors are on the CPU."""
    path = folder / f"{name}.safetensors"
    tensors = load_file(path) if path.exists() else {}
    return _decode(json.loads((folder / f"{name}.json").read_text(encoding="utf-8")), tensors)


def has_tree(folder: Path, name: str) -> bool:
    """Say whether `folder` holds a tree of that name."""
    return (folder / f"{name}.json").exists()


def _encode(value: Any, place: str, tensors: dict[str, torch.Tensor]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, torch.Tensor) and type(value).__name__ in _PACKED_TYPES:
        return _encode_packed(value, place, tensors)
    if isinstance(value, torch.Tensor):
        tensors[place] = value.detach().to("cpu", copy=True).contiguous()
        return {_TENSOR: place}
    if isinstance(value, Mapping):
        return _encode_mapping(value, place, tensors)
    if isinstance(value, list | tuple):
        items = [_encode(item, f"{place}.{index}", tensors) for index, item in enumerate(value)]
        return {_TUPLE: items} if isinstance(value, tuple) else items
    return _encode_rare(value, place)


def _encode_mapping(value: Mapping[Any, Any], place: str, tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    items = [(key, _encode(item, f"{place}.{key}", tensors)) for key, item in value.items()]
    if all(isinstance(key, str) for key, _ in items) and not _TAGS & set(value):
        return dict(items)
    return {_PAIRS: [[_encode(key, place, tensors), item] for key, item in items]}


def _encode_packed(value: Any, place: str, tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    names, context = value.__tensor_flatten__()
    parts = {name: _encode(vars(value)[name], f"{place}.{name}", tensors) for name in names}
    return {_PACKED: type(value).__name__, "parts": parts, "context": _encode(list(context), place, tensors)}


def _decode_packed(value: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> Any:
    name = value[_PACKED]
    module = import_optional(_PACKED_TYPES[name], extra="quant", needed_for=f"An optimizer state of type {name}")
    parts, context = _decode(value["parts"], tensors), _decode(value["context"], tensors)
    return vars(module)[name].__tensor_unflatten__(parts, context)


def _encode_rare(value: Any, place: str) -> dict[str, Any]:
    if isinstance(value, np.ndarray):
        return {_ARRAY: value.tolist(), "dtype": str(value.dtype)}
    if isinstance(value, torch.dtype):
        return {_DTYPE: str(value).removeprefix("torch.")}
    raise refusal(
        "checkpoint.state_unsupported",
        f"The state {place!r} holds a {type(value).__name__}, which has no safe form on disk.",
        "Choose another optimizer or scheduler, or set save_only_model: true (the run cannot be resumed then).",
    )


def _decode(value: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    tag = next(iter(_TAGS & set(value)), None)
    return {key: _decode(item, tensors) for key, item in value.items()} if tag is None else _tagged(tag, value, tensors)


def _tagged(tag: str, value: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> Any:
    if tag == _TENSOR:
        return tensors[value[_TENSOR]]
    if tag == _PACKED:
        return _decode_packed(value, tensors)
    if tag == _ARRAY:
        return np.array(value[_ARRAY], dtype=value["dtype"])
    if tag == _TUPLE:
        return tuple(_decode(item, tensors) for item in value[_TUPLE])
    if tag == _DTYPE:
        return getattr(torch, value[_DTYPE])
    return {_decode(key, tensors): _decode(item, tensors) for key, item in value[_PAIRS]}
