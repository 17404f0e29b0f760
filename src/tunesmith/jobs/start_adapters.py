# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Keeps the adapters that a compared run starts from in its output folder, so that no resume reads changed ones."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from tunesmith.config.run import RunConfig
from tunesmith.core.files import write_folder_atomic
from tunesmith.core.progress import say
from tunesmith.jobs.fingerprints import adapter_files
from tunesmith.training.checkpoints import newest_intact

START_FOLDER = "start_adapters"
_INDEX = "index.json"
# What tells how texts are rendered lies beside an adapter; what a run reports does not matter.
_SIDE_SUFFIXES = (".jinja", ".model", ".txt")
_SIDE_PATTERNS = ("tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "tunesmith*.json")


def with_kept_adapters(config: RunConfig) -> RunConfig:
    """Let a resumed run start from the adapters that its first start kept; others are left as they are."""
    folder = _run_folder(config)
    if folder is None or not (folder / START_FOLDER / _INDEX).is_file():
        return config
    kept = read_kept(folder)
    if len(kept) != len(config.model.adapter_name_or_path):
        return config
    say(f"The adapters that the run started from are read from {folder / START_FOLDER}.")
    return config.with_choices({"adapter_name_or_path": tuple(map(str, kept))})


def read_kept(folder: Path) -> list[Path]:
    """List the adapters that a run folder keeps."""
    told = json.loads((folder / START_FOLDER / _INDEX).read_text(encoding="utf-8"))
    return [folder / START_FOLDER / entry["folder"] for entry in told["adapters"]]


def keep_adapters(adapters: Sequence[Path], folder: Path) -> None:
    """Copy adapters into a run folder; what an earlier start left there makes room."""
    target = folder / START_FOLDER
    if any(target in adapter.parents for adapter in adapters):
        return
    if target.exists():
        shutil.rmtree(target)
    with write_folder_atomic(target) as made:
        entries = []
        for number, adapter in enumerate(adapters):
            place = made / str(number)
            place.mkdir()
            for path in _files(adapter):
                shutil.copyfile(path, place / path.name)
            entries.append({"folder": str(number), "from": str(adapter)})
        (made / _INDEX).write_text(json.dumps({"adapters": entries}, indent=1) + "\n", encoding="utf-8")


def _files(adapter: Path) -> list[Path]:
    sides = [path for pattern in _SIDE_PATTERNS for path in adapter.glob(pattern)]
    sides += [path for path in adapter.iterdir() if path.is_file() and path.suffix in _SIDE_SUFFIXES]
    return sorted({*adapter_files(adapter), *sides})


def _run_folder(config: RunConfig) -> Path | None:
    """Find the folder of the run that is resumed; None for a fresh start."""
    resume = config.run.resume_from_checkpoint
    if not resume or not config.run.do_train or not config.model.adapter_name_or_path:
        return None
    if isinstance(resume, str):
        named = Path(resume).expanduser()
        return named if (named / START_FOLDER).is_dir() else named.parent
    folder = Path(config.run.output_dir or "").expanduser()
    has_kept = (folder / START_FOLDER).is_dir()
    return folder if has_kept and newest_intact(folder)[0] is not None else None
