# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Whole models on disk as safetensors: written only when finite, checked at once, and copied into a model by name."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import PreTrainedModel

from tunesmith.core.errors import refusal
from tunesmith.models.folder import weight_files
from tunesmith.models.load import load_model, quiet_transformers
from tunesmith.models.own_code import write_own_code
from tunesmith.models.reward_head import is_reward_model, load_reward_model
from tunesmith.models.safetensors_file import TensorHeader, read_headers

_DTYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def save_whole_model(model: PreTrainedModel, folder: Path, *, shard_gigabytes: int = 5) -> None:
    """Write a model's weights and configuration, or refuse weights that are not finite."""
    held = model.state_dict()
    refuse_non_finite(held.items())
    with quiet_transformers():
        model.save_pretrained(folder, max_shard_size=f"{shard_gigabytes}GB")
    write_own_code(model, folder)
    written = {name: header for path in weight_files(folder) for name, header in read_headers(path).items()}
    refuse_damaged(
        written, {name: header_of(held[name]) if name in held else written[name] for name in written}, folder
    )
    num_stored = sum(header.num_bytes for header in written.values())
    num_held = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    if num_stored < num_held:
        raise _damaged(folder, f"they take {num_stored} bytes, the model's parameters {num_held}")


@torch.no_grad()
def copy_whole_model(model: PreTrainedModel, folder: Path) -> None:
    """Copy the weights of a saved model of the same architecture into `model`, in place."""
    targets = model.state_dict()
    files = weight_files(folder)
    stored = {name for path in files for name in read_headers(path)}
    filled = {tensor.data_ptr() for name, tensor in targets.items() if name in stored}
    if stored <= targets.keys() and all(tensor.data_ptr() in filled for tensor in targets.values()):
        for path in files:
            with safe_open(path, framework="pt") as file:
                copy_values({name: file.get_tensor(name) for name in file.keys()}, targets, path)  # noqa: SIM118
    else:  # the file's names are not the modules' (or some are missing): transformers translates, or refuses
        load = load_reward_model if is_reward_model(model) else load_model
        values = load(folder, dtype=torch.float32, device=torch.device("cpu")).state_dict()
        copy_values(values, targets, folder)


@torch.no_grad()
def copy_values(values: Mapping[str, Tensor], targets: Mapping[str, Tensor], source: Path) -> None:
    """Copy tensors into those of the same names, in place, or refuse other names and shapes."""
    wrong = sorted(name for name in values if name not in targets or targets[name].shape != values[name].shape)
    if wrong:
        raise refusal(
            "model.weights_incomplete",
            f"{source} does not fit the model: {', '.join(wrong[:3])} differ in name or shape ({len(wrong)} in all).",
            "Load the weights into the model they were saved from.",
            file=str(source),
        )
    for name, value in values.items():
        targets[name].copy_(value)


def refuse_non_finite(tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Refuse weights with NaN or infinite values, naming the first tensors."""
    broken = [name for name, value in tensors if value.is_floating_point() and not bool(torch.isfinite(value).all())]
    if broken:
        raise refusal(
            "model.weights_not_finite",
            f"{len(broken)} tensors hold NaN or infinite values ({', '.join(broken[:3])}); they are not saved or used.",
            "Go back to the last good checkpoint; a lower learning rate or another precision usually avoids this.",
        )


def refuse_damaged(found: Mapping[str, TensorHeader], expected: Mapping[str, TensorHeader], folder: Path) -> None:
    """Refuse a written file whose tensors are not those meant, or are empty."""
    wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    wrong += sorted(name for name, header in found.items() if header.num_bytes == 0)
    if wrong:
        raise _damaged(folder, f"{', '.join(wrong[:3])} are not what was to be written")


def header_of(tensor: Tensor) -> TensorHeader:
    """Describe a tensor as a safetensors header would."""
    size = tensor.numel() * tensor.element_size()
    return TensorHeader(dtype=_DTYPE_NAMES[tensor.dtype], shape=tuple(tensor.shape), num_bytes=size)


def _damaged(folder: Path, reason: str) -> Exception:
    return refusal(
        "model.weights_damaged",
        f"The weights written to {folder} are not those of the model: {reason}.",
        "Check the disk and try again; the folder is not to be used.",
        file=str(folder),
    )
