# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Reward heads on disk: LLaMA-Factory's value_head.safetensors, and which names of tensors a folder holds."""

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from tunesmith.core.errors import refusal, warning
from tunesmith.core.report import emit_warning
from tunesmith.models.folder import weights_folder
from tunesmith.models.safetensors_file import read_headers

FILE = "value_head.safetensors"
_PICKLE = "value_head.bin"
_WEIGHT, _BIAS = "v_head.summary.weight", "v_head.summary.bias"


def has_value_head(folder: Path) -> bool:
    """Say whether LLaMA-Factory wrote a value head into a folder, or refuse one that is only a pickle."""
    if (folder / FILE).is_file():
        return True
    if (folder / _PICKLE).is_file():
        raise refusal(
            "security.pickle_refused",
            f"{folder} holds its value head only as a pickle ({_PICKLE}); reading those can run any code.",
            "Save it as safetensors where it was made.",
            file=str(folder / _PICKLE),
        )
    return False


def read_value_head(folder: Path) -> Tensor:
    """Read the weight of a value head; its bias shifts all values alike, and is told and left out."""
    path = folder / FILE
    if _WEIGHT not in read_headers(path):
        raise refusal(
            "model.weights_incomplete",
            f"{path} holds no tensor {_WEIGHT}.",
            "Restore the file from the run that wrote it.",
            file=str(path),
        )
    tensors = load_file(path)
    bias = float(tensors[_BIAS][0]) if _BIAS in tensors else 0.0
    if bias:
        emit_warning(
            warning(
                "model.reward_bias_dropped",
                f"The value head in {folder} adds {bias:.6g} to all values; a head for transformers has no such "
                "constant, so all scores are lower by it.",
                "Nothing to do where scores are only compared; add it where their size matters.",
                file=str(path),
            )
        )
    weight: Tensor = tensors[_WEIGHT]
    return weight


def stored_names(folder: Path) -> set[str]:
    """Give the names of the tensors in a folder's weight files, of a model or an adapter."""
    files = [*sorted(weights_folder(folder).glob("model*.safetensors")), folder / "adapter_model.safetensors"]
    return {name for path in files if path.is_file() for name in read_headers(path)}
