# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Adapter folders in PEFT's format, safetensors only: adapter_config.json and adapter_model.safetensors.

What the configuration asks for is checked before PEFT sees it: PEFT would import a named package, read pickles, ask a
hub, or change the base model.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model_state_dict
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from safetensors.torch import load_file, save_file
from torch import Tensor

from tunesmith.core.errors import TunesmithError, refusal
from tunesmith.models.safetensors_file import read_headers
from tunesmith.models.saved_weights import copy_values, header_of, refuse_damaged, refuse_non_finite

ADAPTER = "default"
CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"

# Initialisations that only choose the adapter's first values; most others also change the base weights.
_PLAIN_STARTS = (True, False, None, "gaussian", "orthogonal")
_UNSUPPORTED_KEYS = ("layer_replication", "megatron_config", "loftq_config", "use_qalora", "alora_invocation_tokens")


def adapter_tensors(model: PeftModel, adapter: str = ADAPTER) -> dict[str, Tensor]:
    """Give an adapter's tensors under their names on disk; they share memory with the model."""
    tensors = get_peft_model_state_dict(model, adapter_name=adapter, save_embedding_layers=False)
    return {name: tensors[name] for name in sorted(tensors)}


def save_adapter(model: PeftModel, folder: Path) -> None:
    """Write an adapter, or refuse one that is not finite; the same adapter gives the same bytes."""
    write_adapter(adapter_tensors(model), model.peft_config[ADAPTER], folder)


def write_adapter(tensors: Mapping[str, Tensor], config: PeftConfig, folder: Path) -> None:
    """Write the tensors and the configuration of an adapter, and check what was written."""
    write_folder(tensors, _to_json(config), folder)


def write_folder(tensors: Mapping[str, Tensor], settings: Mapping[str, Any], folder: Path) -> None:
    """Write tensors and settings as an adapter folder, and check what was written."""
    refuse_non_finite(tensors.items())
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    if len({tensor.data_ptr() for tensor in stored.values()}) < len(stored):  # of a tied head: stored under both names
        stored = {name: tensor.clone() for name, tensor in stored.items()}
    save_file(stored, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    refuse_damaged(
        read_headers(folder / WEIGHTS_FILE), {name: header_of(tensor) for name, tensor in stored.items()}, folder
    )
    text = json.dumps(settings, indent=2, sort_keys=True)
    (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")


def read_adapter_config(folder: Path, expected: type[PeftConfig] = LoraConfig) -> Any:
    """Read the configuration of an adapter folder, or refuse what cannot be used faithfully."""
    path = folder / CONFIG_FILE
    wanted = next(kind.value for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items() if config is expected)
    settings = read_settings(folder, wanted=wanted, finetuning_type=wanted.lower())
    known = {field.name for field in dataclasses.fields(expected)}
    strange = sorted(key for key, value in settings.items() if key not in known and value)
    changing = sorted(key for key in _UNSUPPORTED_KEYS if settings.get(key))
    if settings.get("init_lora_weights", True) not in _PLAIN_STARTS:
        changing.append(f"init_lora_weights: {settings['init_lora_weights']}")
    if strange or changing:
        raise _unsupported(path, f"it sets {', '.join([*strange, *changing])}, which is not supported")
    taken = known - {"peft_type", "auto_mapping", "inference_mode"}
    settings = {key: value for key, value in settings.items() if key in taken}
    # The stored weights overwrite the start; "True" keeps PEFT from computing another one.
    return expected(**{**settings, **({"init_lora_weights": True} if expected is LoraConfig else {})})


def read_settings(folder: Path, *, wanted: str, finetuning_type: str) -> dict[str, Any]:
    """Read an adapter's configuration as it stands, or refuse one of another type than `wanted`."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise _no_adapter(folder)
    try:
        settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        kind = settings["peft_type"]
    except (ValueError, KeyError, TypeError) as error:
        raise _unsupported(path, f"it is no adapter configuration ({error})") from error
    if kind != wanted:
        raise refusal(
            "tuner.adapter_unsupported",
            f"{path} is of type {kind}, but finetuning_type {finetuning_type} loads adapters of type {wanted}.",
            "Write the finetuning_type that the adapter was trained with, or merge it where it was made.",
            key="finetuning_type",
            file=str(path),
        )
    return settings


def read_adapter_weights(folder: Path) -> dict[str, Tensor]:
    """Read an adapter's tensors, or refuse pickles, damaged files and values that are not finite."""
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise _no_adapter(folder)
    read_headers(path)
    tensors: dict[str, Tensor] = load_file(path)
    refuse_non_finite(tensors.items())
    return tensors


def copy_adapter(model: PeftModel, folder: Path, *, kept: Mapping[str, Tensor] | None = None) -> None:
    """Copy an adapter's stored tensors into the model's adapter, in place; names and shapes must be the same.

    `kept` are tensors that the folder need not hold.
    """
    copy_tensors({**(kept or {}), **read_adapter_weights(folder)}, adapter_tensors(model), folder)


def copy_tensors(values: Mapping[str, Tensor], targets: Mapping[str, Tensor], folder: Path) -> None:
    """Copy tensors read from an adapter folder into a model's own of the same names and shapes, in place."""
    missing = sorted(targets.keys() - values.keys())
    if missing:
        raise refusal(
            "tuner.adapter_mismatch",
            f"{folder} lacks {len(missing)} tensors that its configuration promises for this model "
            f"({', '.join(missing[:3])}).",
            "Use the adapter with the base model it was trained on.",
            key="adapter_name_or_path",
            file=str(folder),
        )
    _refuse_other_shapes(values, targets, folder)
    copy_values(values, targets, folder)


def _refuse_other_shapes(values: Mapping[str, Tensor], targets: Mapping[str, Tensor], folder: Path) -> None:
    wrong = sorted(name for name in values if name not in targets or targets[name].shape != values[name].shape)
    if wrong:
        raise refusal(
            "tuner.adapter_mismatch",
            f"{folder} was trained on another model: {len(wrong)} of its tensors have no place of their shape here "
            f"({', '.join(wrong[:3])}).",
            "Use the adapter with the base model it was trained on.",
            key="adapter_name_or_path",
            file=str(folder),
        )


def _to_json(config: Any) -> dict[str, Any]:
    values = {key: sorted(value) if isinstance(value, set) else value for key, value in config.to_dict().items()}
    return {**values, "inference_mode": True}


def _no_adapter(folder: Path) -> TunesmithError:
    pickles = sorted(path.name for path in folder.glob("adapter_model.*") if path.suffix in (".bin", ".pt", ".pth"))
    if pickles:
        return refusal(
            "security.pickle_refused",
            f"{folder} holds its adapter only as a pickle ({pickles[0]}); reading those can run any code.",
            "Save the adapter as safetensors where it was made.",
            key="adapter_name_or_path",
            file=str(folder / pickles[0]),
        )
    state = "has no adapter_config.json with adapter_model.safetensors" if folder.is_dir() else "does not exist"
    return refusal(
        "tuner.adapter_missing",
        f"{folder} is no adapter folder: it {state}.",
        "Point adapter_name_or_path at the output folder of a LoRA run, or at one of its checkpoints.",
        key="adapter_name_or_path",
        file=str(folder),
    )


def _unsupported(path: Path, reason: str) -> TunesmithError:
    return refusal(
        "tuner.adapter_unsupported",
        f"{path} cannot be used: {reason}.",
        "Merge it into its base model with the program that made it, and use the merged model.",
        key="adapter_name_or_path",
        file=str(path),
    )
