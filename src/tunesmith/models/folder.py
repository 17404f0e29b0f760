# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What a model folder holds, judged without torch and without reading weights.

Refuses folders that hold only pickles, want to run code, or are no model; the same rules serve loading and preflight.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunesmith.core.errors import refusal
from tunesmith.core.folder_code import has_consents, read_code
from tunesmith.models.safetensors_file import read_headers

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
# Beside a configuration and tokenizer that a run changed: says where the weights are.
VARIANT_FILE = "tunesmith_variant.json"
_CONFIG_FILES = ("config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json")


def read_model_config(folder: Path) -> dict[str, Any]:
    """Read config.json of a model folder as it stands, or refuse what is no model folder."""
    path = folder / "config.json"
    if not path.is_file():
        raise _no_model(folder)
    config = _read_json(path)
    if not isinstance(config.get("model_type"), str):
        raise _malformed(path, "it names no model_type")
    return config


def check_folder(folder: Path) -> None:
    """Refuse a folder whose configuration, code or weight files cannot be used."""
    read_model_config(folder)
    for place in {folder, weights_folder(folder)}:
        _refuse_remote_code(place)
    for path in weight_files(folder):
        read_headers(path)


def weights_folder(folder: Path) -> Path:
    """Give the folder that holds a model's weights: of a changed configuration, the one that it was made from."""
    path = folder / VARIANT_FILE
    return Path(_read_json(path)["weights"]) if path.is_file() else folder


def weight_files(folder: Path) -> tuple[Path, ...]:
    """List the safetensors files of a model in order, or refuse missing shards, pickles and empty folders."""
    folder = weights_folder(folder)
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(_read_json(index).get("weight_map", {}).values()))
        files = tuple(folder / Path(name).name for name in names)
        missing = [path.name for path in files if not path.is_file()]
        if missing or not files:
            raise refusal(
                "model.weights_missing",
                f"{index} lists {len(files)} weight files, of which are missing: {', '.join(missing) or 'all'}.",
                "Complete the copy or download of the model.",
                key="model_name_or_path",
                file=str(index),
            )
        return files
    single = folder / "model.safetensors"
    if single.is_file():
        return (single,)
    raise _no_weights(folder)


def _no_weights(folder: Path) -> Exception:
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern) if path.is_file())
    if pickles:
        return refusal(
            "security.pickle_refused",
            f"{folder} holds its weights only as pickles ({', '.join(pickles[:3])}); reading those can run any code.",
            "Take the model's safetensors version, or convert the files on a machine you can afford to lose.",
            key="model_name_or_path",
            file=str(folder / pickles[0]),
        )
    return refusal(
        "model.weights_missing",
        f"{folder} has a config.json but neither model.safetensors nor model.safetensors.index.json.",
        "Point model_name_or_path at a folder with safetensors weights.",
        key="model_name_or_path",
        file=str(folder),
    )


def _no_model(folder: Path) -> Exception:
    if (folder / "adapter_config.json").is_file():
        return refusal(
            "model.folder_invalid",
            f"{folder} holds an adapter, not a whole model.",
            "Name the adapter in adapter_name_or_path and its base model in model_name_or_path.",
            key="model_name_or_path",
            file=str(folder),
        )
    found = sorted(path.name for path in folder.iterdir())
    return refusal(
        "model.folder_invalid",
        f"{folder} is no model folder: it has no config.json (found: {', '.join(found[:8]) or 'nothing'}).",
        "Point model_name_or_path at the folder that holds config.json, the tokenizer and the safetensors files.",
        key="model_name_or_path",
        file=str(folder),
    )


def names_code(folder: Path) -> bool:
    """Say whether a configuration of the folder names code beside it or elsewhere, there or not."""
    return any(_references(_read_json(path)) for path in _configurations(folder))


def _refuse_remote_code(folder: Path) -> None:
    """Refuse a folder that wants to run code, unless the user agreed to exactly its bytes."""
    for path in _configurations(folder):
        references = _wanted_code(folder, _read_json(path))
        elsewhere = [reference for reference in references if "--" in reference]
        if elsewhere:
            raise _code_refused(
                path,
                f"{path} asks to run code of another repository ({', '.join(elsewhere[:3])}), which no hash of this "
                "folder covers.",
                "Use a version of the model that transformers supports itself, or copy that code into the folder and "
                "name it in auto_map without the repository; it can then be looked at and allowed.",
            )
        if not references:
            continue
        code = read_code(folder)
        if not code.is_allowed:
            changed = " The hash that trust_remote_code names is another one." if has_consents() else ""
            raise _code_refused(
                path,
                f"{path} asks to run code that is not part of transformers ({', '.join(references[:3])}); "
                f"trust_remote_code: true alone is no consent to that code.{changed} The folder's Python files: "
                f"{code.listing()}. Their hash: {code.digest}",
                f"Use a version of the model that transformers supports itself; or read these files, and where you "
                f"trust them write trust_remote_code: {code.digest}",
            )


def _code_refused(path: Path, message: str, remedy: str) -> Exception:
    return refusal("security.remote_code_refused", message, remedy, key="trust_remote_code", file=str(path))


def _configurations(folder: Path) -> list[Path]:
    return [folder / name for name in _CONFIG_FILES if (folder / name).is_file()]


def _wanted_code(folder: Path, content: object) -> list[str]:
    """List the code that an auto_map (at any depth) would run: files beside it, or files of another repository."""
    found = set()
    for reference in _references(content):
        module = reference.split("--")[-1].rsplit(".", 1)[0]
        if "--" in reference or (folder / f"{module.replace('.', '/')}.py").is_file():
            found.add(reference)
    return sorted(found)


def _references(value: object) -> list[str]:
    """List what the auto_maps in a configuration name, at any depth."""
    found: list[str] = []
    if isinstance(value, dict):
        found.extend(_flatten(value.get("auto_map") or ()))
        for inner in value.values():
            found.extend(_references(inner))
    elif isinstance(value, list):
        for inner in value:
            found.extend(_references(inner))
    return found


def _flatten(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _flatten(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _flatten(inner)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _malformed(path, f"it is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise _malformed(path, "it is not a JSON object")
    return value


def _malformed(path: Path, reason: str) -> Exception:
    return refusal(
        "model.config_malformed",
        f"{path} cannot be used: {reason}.",
        "Restore the file from the model's source.",
        key="model_name_or_path",
        file=str(path),
    )
