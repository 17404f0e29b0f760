# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A model as a run changes it: a folder in the cache with its configuration and tokenizer, and a pointer to weights.

Everything that reads a model folder reads the changed one: rows, checks, training, chat, export. Its name is a hash of
what it is made from, so that a resumed run finds the same.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunesmith import __version__
from tunesmith.config.run import RunConfig
from tunesmith.core.files import sha256_file, write_folder_atomic
from tunesmith.core.folder_code import copy_allowed_code, read_code
from tunesmith.core.progress import say
from tunesmith.models.cache import user_cache
from tunesmith.models.folder import VARIANT_FILE, check_folder, read_model_config
from tunesmith.models.load import load_model_config
from tunesmith.models.new_tokens import tokens_of_run
from tunesmith.models.rope import apply_rope, own_parameters, rope_of_run, text_part
from tunesmith.models.tokenizer_files import write_tokens
from tunesmith.models.variant_file import Changes, read_manifest, read_variant, write_manifest

_SUFFIXES = (".json", ".jinja", ".model", ".txt", ".tiktoken")
_CONFIG_FILE = "config.json"


def with_changes(config: RunConfig, folder: Path) -> Path:
    """Give the folder of the model as the run changes it: the folder itself where nothing is changed."""
    changes, num_rows = _changes_of_run(config, folder)
    if changes.is_empty:
        return folder
    for name, words in _words(changes).items():
        say(f"{name.capitalize()}: {words}.")
    if (folder / _CONFIG_FILE).is_file():  # else rows are looked at with a tokenizer alone
        check_folder(folder)
    files = sorted(path for path in folder.iterdir() if _is_copied(path))
    text = json.dumps(
        {
            "weights": str(folder.resolve()),
            "num_rows": num_rows,
            "changes": changes.to_json(),
            "code": read_code(folder).digest,
            "made_by": __version__,
        },
        indent=1,
        ensure_ascii=False,
    )
    digest = hashlib.sha256(text.encode())
    for path in files:
        digest.update(f"{path.name}:{sha256_file(path)};".encode())
    cache = Path(config.model.cache_dir) if config.model.cache_dir else user_cache()
    made = cache / "variants" / f"{folder.name}-{digest.hexdigest()[:16]}"
    if not made.is_dir():
        _make(made, folder, files, changes, text)
    return made


def copy_manifest(folder: Path, adapter: Path) -> None:
    """Write beside an adapter how the model in a folder was changed, where it was."""
    variant = read_variant(folder)
    if variant is not None:
        write_manifest(variant.changes, adapter)


def changes_in_words(folder: Path) -> dict[str, str]:
    """Say how the model in a folder was changed, for the record of a run."""
    variant = read_variant(folder)
    return {} if variant is None else _words(variant.changes)


def _changes_of_run(config: RunConfig, folder: Path) -> tuple[Changes, int | None]:
    adapters = [Path(adapter) for adapter in config.model.adapter_name_or_path]
    saved = [(adapter, read_manifest(adapter)) for adapter in adapters]
    is_model = (folder / _CONFIG_FILE).is_file()
    num_rows = _num_rows(folder) if is_model else None
    manifests = [(adapter, changes.tokens) for adapter, changes in saved if changes.tokens is not None]
    tokens = tokens_of_run(config, folder, manifests, num_rows=num_rows)
    ropes = [(adapter, changes.rope) for adapter, changes in saved]
    needs_rope = config.flat["rope_scaling"] is not None or config.flat["max_model_len"] is not None
    rope = None
    if needs_rope or any(scaling is not None for _, scaling in ropes):
        rope = rope_of_run(config, load_model_config(folder), ropes)
    return Changes(tokens=tokens, rope=rope), num_rows


def _num_rows(folder: Path) -> int | None:
    """Count the embeddings of a model by its configuration."""
    found = text_part(read_model_config(folder)).get("vocab_size")
    if isinstance(found, int):
        return found
    config: Any = load_model_config(folder)  # where the file leaves it to the family's default
    return getattr(config.get_text_config(), "vocab_size", None)


def _is_copied(path: Path) -> bool:
    return path.is_file() and path.suffix in _SUFFIXES and not path.name.endswith(".index.json")


def _make(made: Path, folder: Path, files: list[Path], changes: Changes, text: str) -> None:
    """Write the folder; of two processes that write at once, the first rename stays."""
    try:
        with write_folder_atomic(made) as temporary:
            for path in files:
                shutil.copyfile(path, temporary / path.name)
            copy_allowed_code(folder, temporary)
            (temporary / VARIANT_FILE).write_text(text + "\n", encoding="utf-8")
            if (folder / _CONFIG_FILE).is_file():
                content = _changed_config(read_model_config(folder), folder, changes)
                written = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
                (temporary / _CONFIG_FILE).write_text(written, encoding="utf-8")
            if changes.tokens is not None:
                write_tokens(temporary, changes.tokens.tokens)
    except OSError:
        if not made.is_dir():
            raise


def _changed_config(content: dict[str, Any], folder: Path, changes: Changes) -> Mapping[str, Any]:
    text = text_part(content)
    if changes.tokens is not None:
        text["vocab_size"] = max(_num_rows(folder) or 0, changes.tokens.end)
    if changes.rope is not None:
        apply_rope(text, changes.rope, own_parameters(load_model_config(folder)))
    return content


def _words(changes: Changes) -> dict[str, str]:
    found = {}
    if changes.tokens is not None:
        names = [token.content for token in changes.tokens.tokens]
        shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        found["new tokens"] = f"{len(names)} ({shown}), ids {changes.tokens.first} to {changes.tokens.end - 1}"
    if changes.rope is not None:
        parameters = {key: value for key, value in changes.rope.parameters.items() if not isinstance(value, list)}
        listed = ", ".join(f"{key} {value}" for key, value in parameters.items() if key != "rope_type")
        found["scaled positions"] = f"{changes.rope.method} ({listed})"
    return found
