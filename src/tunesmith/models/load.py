# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Finds a model by path, embedded name or hub id, and loads it from safetensors without running code of its own."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from tunesmith.core.errors import TunesmithError, refusal, warning
from tunesmith.core.names import nearest
from tunesmith.core.report import emit_warning
from tunesmith.models.attention.families import FOREST_TYPES
from tunesmith.models.attention.forest import FOREST_NAMES, FOREST_VARLEN
from tunesmith.models.embedded import EMBEDDED_MODELS, embedded_folder
from tunesmith.models.folder import VARIANT_FILE, check_folder, read_model_config, weights_folder
from tunesmith.models.hub import fetch_model
from tunesmith.models.new_rows import as_stored, make_variant
from tunesmith.models.own_code import own_config_type
from tunesmith.models.quantized_loading import LoadingPlan, loading_plan
from tunesmith.models.quantizers.base import Quantization
from tunesmith.models.rope import check_rope
from tunesmith.models.variant_file import read_variant

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# A forest's name → transformers' implementation for types that no forest was tried with.
_WITHOUT_FOREST = {FOREST_VARLEN[2]: "flash_attention_2", FOREST_VARLEN[3]: "flash_attention_3"}


def resolve_model(name_or_path: str, cache_dir: Path | None = None, *, revision: str | None = None) -> Path:
    """Give the local folder of a model named by path, embedded name or hub id; fetch or convert it when needed."""
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return _published(path)
    if name_or_path.lower() in EMBEDDED_MODELS:
        return embedded_folder(name_or_path.lower(), cache_dir)
    if path.exists():
        raise refusal(
            "model.folder_invalid",
            f"{path} is a file; a model is a folder with config.json, a tokenizer and safetensors weights.",
            "Point model_name_or_path at the folder.",
            key="model_name_or_path",
            file=str(path),
        )
    fetched = fetch_model(name_or_path, cache_dir, revision) if _HUB_ID.fullmatch(name_or_path) else None
    if fetched is None:
        raise _path_missing(name_or_path)
    return _published(fetched)


def _published(folder: Path) -> Path:
    """Refuse a folder that points at weights elsewhere: only the cache holds such; a stranger's may name any place."""
    if not (folder / VARIANT_FILE).exists():
        return folder
    raise refusal(
        "model.folder_invalid",
        f"{folder} holds {VARIANT_FILE}: it is a model as a run changed it in its cache, without weights of its own.",
        "Name the model that the run started from, with the run's keys (add_tokens, rope_scaling) or its adapter.",
        key="model_name_or_path",
        file=str(folder / VARIANT_FILE),
    )


def load_model_config(folder: Path) -> PreTrainedConfig:
    """Read a model's configuration with transformers' own class for its type."""
    read_model_config(folder)
    own = own_config_type(weights_folder(folder))
    try:
        if own is not None:
            config = own.from_pretrained(folder, local_files_only=True)
        else:
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, TypeError, KeyError, StrictDataclassError) as error:
        raise _config_refused(folder, error) from error
    assert isinstance(config, PreTrainedConfig)
    return config


def load_model(
    folder: Path,
    *,
    dtype: torch.dtype,
    attention: str = "forest",
    device: torch.device | None = None,
    quantization: Quantization | None = None,
) -> PreTrainedModel:
    """Load a causal language model from safetensors, every tensor from the files, onto `device` (default: the best).

    `attention` is a forest's name, sdpa or eager; a forest gives way to transformers' own for types it was not tried
    with: to its FlashAttention or, where that was not asked for, to its choice. `quantization` quantises the linear
    layers but the head while they load.
    """
    check_folder(folder)
    config = load_model_config(folder)
    _refuse_reward_model(folder, config)
    place = device or default_device()
    plan = loading_plan(folder, quantization, place)
    model, info = load_as(AutoModelForCausalLM, folder, config, dtype=dtype, attention=attention, plan=plan)
    judge_loading(folder, info)
    _repair_generation_config(model)
    return on_device(model, place, plan)


def load_as(
    kind: Any,
    folder: Path,
    config: PreTrainedConfig,
    *,
    dtype: torch.dtype,
    attention: str,
    plan: LoadingPlan | None,
) -> tuple[Any, dict[str, Any]]:
    """Load a model by one of transformers' Auto classes, and give also which tensors were missing or left over."""
    variant = read_variant(folder)
    if variant is not None:
        config = as_stored(config, variant)
    try:
        with quiet_transformers():
            loaded: Any = kind.from_pretrained(
                weights_folder(folder),
                config=config,
                dtype=dtype,
                attn_implementation=attention_for(config, attention),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                **(plan.options() if plan is not None else {}),
            )
    except SafetensorError as error:
        raise _weights_refused(folder, str(error)) from error
    except RuntimeError as error:
        if "ignore_mismatched_sizes" not in str(error):
            raise
        raise _weights_refused(folder, "tensors have other shapes than config.json asks for") from error
    except ValueError as error:
        raise _config_refused(folder, error) from error
    model, info = loaded
    if variant is not None:
        make_variant(model, variant)
    return model, info


def _refuse_reward_model(folder: Path, config: PreTrainedConfig) -> None:
    if any(name.endswith("ForSequenceClassification") for name in config.architectures or ()):
        raise refusal(
            "model.reward_only",
            f"{folder} is a reward model ({', '.join(config.architectures or ())}): it judges answers and writes none.",
            "Use it with stage: rm or `tunesmith score`; name a language model for everything else.",
            key="model_name_or_path",
            file=str(folder / "config.json"),
        )


def _repair_generation_config(model: Any) -> None:
    """Turn sampling on where a folder sets sampling values without it; transformers refuses to save such a pair."""
    settings = model.generation_config
    values = (settings.temperature, settings.top_p, settings.typical_p, settings.min_p)
    if not settings.do_sample and any(value not in (None, 1.0) for value in values):
        settings.do_sample = True


def attention_for(config: PreTrainedConfig, attention: str) -> str | None:
    """Use the forest only where it was tried; None lets transformers choose (sdpa, or eager where it must)."""
    if config.model_type in FOREST_TYPES or attention not in FOREST_NAMES:
        return attention
    return _WITHOUT_FOREST.get(attention)


def on_device(model: Any, device: torch.device, plan: LoadingPlan | None = None) -> PreTrainedModel:
    """Move a model; a quantised one was loaded where it computes, and is finished."""
    assert isinstance(model, PreTrainedModel)
    if plan is not None:
        return plan.finish(model)
    model.to(device)  # type: ignore[arg-type]  # its overloads forget plain devices
    return model


def load_skeleton(folder: Path) -> PreTrainedModel:
    """Build the model's modules without weights (on the meta device), to look at names and shapes."""
    return skeleton_as(AutoModelForCausalLM, folder, load_model_config(folder))


def skeleton_as(kind: Any, folder: Path, config: PreTrainedConfig) -> PreTrainedModel:
    """Build the modules of one of transformers' Auto classes without weights."""
    try:
        with torch.device("meta"):
            model = kind.from_config(config, trust_remote_code=False)
    except ValueError as error:
        raise _config_refused(folder, error) from error
    assert isinstance(model, PreTrainedModel)
    variant = read_variant(folder)
    if variant is not None and variant.changes.rope is not None:
        check_rope(model, variant.changes.rope)
    return model


def default_device() -> torch.device:
    """Give this process's device: its own GPU, else Apple's, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("mps") if torch.backends.mps.is_available() else torch.device("cpu")


def inference_dtype(name: str, config: PreTrainedConfig) -> torch.dtype:
    """Turn `infer_dtype` into a dtype; auto is the model's own, with float32 weights taken as bfloat16."""
    if name != "auto":
        return _DTYPES[name]
    own = config.dtype
    return own if isinstance(own, torch.dtype) and own != torch.float32 else torch.bfloat16


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' progress bars and reports; what they say is said by our own messages."""
    verbosity, has_bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if has_bar:
            transformers_logging.enable_progress_bar()


def _path_missing(name: str) -> TunesmithError:
    embedded = ", ".join(sorted(EMBEDDED_MODELS))
    return refusal(
        "model.path_missing",
        f"There is no model folder {name!r} (looked in {Path.cwd()}), and it is no embedded model ({embedded}).",
        "Give the path of a model folder, an embedded name, or a hub id of the form owner/name."
        + nearest(name, EMBEDDED_MODELS),
        key="model_name_or_path",
        file=name,
    )


def _config_refused(folder: Path, error: Exception) -> TunesmithError:
    reason = " ".join(str(error).split())[:300]
    return refusal(
        "model.config_malformed",
        f"{folder / 'config.json'} does not describe a causal language model that this transformers knows: {reason}",
        "Check that the folder holds a causal language model; a newer transformers may know newer types.",
        key="model_name_or_path",
        file=str(folder / "config.json"),
    )


def _weights_refused(folder: Path, reason: str) -> TunesmithError:
    return refusal(
        "model.weights_incomplete",
        f"The weights in {folder} do not fit its config.json: {reason}.",
        "Restore the folder from its source; loading would fill the gaps with random numbers.",
        key="model_name_or_path",
        file=str(folder),
    )


def judge_loading(folder: Path, info: dict[str, Any]) -> None:
    """Refuse a model with tensors missing, and warn of those that are left over."""
    missing, unexpected = sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
    if missing:
        raise _weights_refused(folder, f"{len(missing)} tensors are missing ({', '.join(missing[:3])}, …)")
    if unexpected:
        emit_warning(
            warning(
                "model.weights_unused",
                f"{len(unexpected)} tensors in {folder} belong to no module of this model: "
                f"{', '.join(unexpected[:3])}.",
                "Nothing to do when the extra tensors are wanted by another program only.",
                key="model_name_or_path",
            )
        )
