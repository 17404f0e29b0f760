# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Models on Hugging Face's and ModelScope's hubs: fetched into a cache, pinned by revision, found again offline.

Weights are only fetched as safetensors; files with code only where transformers has no class of its own for the model,
and then they are looked at and not run. Endpoints, tokens and offline mode are the libraries' own variables.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2
import huggingface_hub
from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from tunesmith.core.errors import TunesmithError, refusal
from tunesmith.core.hubs import HUB_NAMES, default_hub, refuse_other_hubs
from tunesmith.core.optional import import_by_name, import_optional
from tunesmith.core.progress import say
from tunesmith.models.folder import names_code, read_model_config

_FILES = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt", "*.tiktoken")
_CODE = ("*.py",)
# The name of the first branch: what `model_revision` says where the user left it alone.
_FIRST_BRANCH = "main"


def fetch_model(name: str, cache_dir: Path | None, revision: str | None) -> Path | None:
    """Fetch a model by its id, or find it in the hub's cache; None for what is no id."""
    refuse_other_hubs(name)
    fetch = _from_modelscope if default_hub() == "ms" else _from_hugging_face
    try:
        folder = fetch(name, cache_dir, revision, _FILES)
        if (folder / "config.json").is_file() and _needs_code(folder):
            folder = fetch(name, cache_dir, revision, (*_FILES, *_CODE))
    except HFValidationError:
        return None
    return folder


def _needs_code(folder: Path) -> bool:
    return names_code(folder) and read_model_config(folder)["model_type"] not in CONFIG_MAPPING


def _from_hugging_face(name: str, cache_dir: Path | None, revision: str | None, files: Sequence[str]) -> Path:
    try:
        options: dict[str, Any] = {"revision": revision, "cache_dir": cache_dir, "allow_patterns": list(files)}
        return Path(huggingface_hub.snapshot_download(name, **options))
    except GatedRepoError as error:
        raise _missing(
            f"{name!r} on Hugging Face is gated: its owner lets in who agreed to its conditions.",
            "Agree to them on the model's page, and set HF_TOKEN to a token of that account.",
        ) from error
    except RepositoryNotFoundError as error:
        raise _missing(
            f"There is no folder {name!r} here, and no model of that id on Hugging Face that may be read.",
            "Correct the id; a private model needs HF_TOKEN, one on ModelScope USE_MODELSCOPE_HUB=1.",
        ) from error
    except RevisionNotFoundError as error:
        raise _revision_missing(name, revision, error) from error
    except (OSError, httpx2.HTTPError) as error:
        raise _unreachable(name, huggingface_hub.constants.ENDPOINT, error) from error


def _from_modelscope(name: str, cache_dir: Path | None, revision: str | None, files: Sequence[str]) -> Path:
    modelscope: Any = import_optional("modelscope", extra="modelscope", needed_for=f"The model {name} on ModelScope")
    errors: Any = import_by_name("modelscope.hub.errors")
    branch = None if revision in (None, _FIRST_BRANCH) else revision  # whose first branch is called master
    cached = None if cache_dir is None else str(cache_dir)
    options: dict[str, Any] = {"revision": branch, "cache_dir": cached, "allow_patterns": list(files)}
    try:
        return Path(modelscope.snapshot_download(name, **options))
    except errors.NotExistError as error:
        if branch is not None:
            raise _revision_missing(name, branch, error) from error
        raise _missing(
            f"There is no folder {name!r} here, and no model of that id on ModelScope that may be read.",
            "Correct the id; a private model needs MODELSCOPE_API_TOKEN, one on Hugging Face no USE_MODELSCOPE_HUB.",
        ) from error
    except (OSError, ValueError, errors.HubError) as error:
        reason = error
    try:
        found = Path(modelscope.snapshot_download(name, **options, local_files_only=True))
    except (OSError, ValueError, errors.HubError) as error:
        raise _unreachable(name, HUB_NAMES["ms"], reason) from error
    say(f"{name}: ModelScope cannot be reached ({_reason(reason)}); the files of an earlier run are taken")
    return found


def _missing(message: str, remedy: str) -> TunesmithError:
    return refusal("model.hub_missing", message, remedy, key="model_name_or_path")


def _revision_missing(name: str, revision: str | None, error: Exception) -> TunesmithError:
    return refusal(
        "model.hub_missing",
        f"The model {name!r} has no branch, tag or commit {revision!r} on its hub ({_reason(error)}).",
        "Correct model_revision, or leave it out for the first branch.",
        key="model_revision",
    )


def _unreachable(name: str, hub: str, error: Exception) -> TunesmithError:
    return refusal(
        "model.hub_unreachable",
        f"There is no folder {name!r} here, and as a hub id it is neither in the local cache nor to be had from "
        f"{hub} ({_reason(error)}).",
        "Check the name and the network (HF_ENDPOINT names a mirror, HF_HUB_OFFLINE=0 allows access), or give the path "
        "of a model folder.",
        key="model_name_or_path",
    )


def _reason(error: Exception) -> str:
    """Give what went wrong in a few words: Hugging Face's first line ends with the cause behind `Got:`."""
    first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return first_line.rpartition("Got: ")[2].strip().rstrip(".")
