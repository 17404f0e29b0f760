# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Adds tokens to the files of a tokenizer: tokenizer.json keeps its rules as written and only gets further tokens."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from tunesmith.core.errors import TunesmithError, refusal
from tunesmith.core.types import RUN_TOKENS
from tunesmith.models.token_manifest import NewToken

TOKENIZER_FILE = "tokenizer.json"
_CONFIG_FILE = "tokenizer_config.json"
_LEGACY_FILE = "added_tokens.json"
# Under these keys tokenizer_config.json lists special tokens without a role.
_SPECIAL_LISTS = ("extra_special_tokens", "additional_special_tokens")


def read_tokenizer(folder: Path) -> Tokenizer:
    """Read tokenizer.json of a model folder."""
    path = folder / TOKENIZER_FILE
    if not path.is_file():
        raise _unreadable(folder, "it has no tokenizer.json")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing finer
        raise _unreadable(folder, f"its tokenizer.json cannot be read ({error})") from error


def assign_ids(tokenizer: Tokenizer, wanted: Sequence[tuple[str, bool]]) -> tuple[NewToken, ...]:
    """Add tokens (name and whether special) to a tokenizer in memory, in order, and give the ids they get."""
    for name, special in wanted:
        added = AddedToken(name, single_word=False, lstrip=False, rstrip=False, normalized=not special, special=special)
        tokenizer.add_special_tokens([added]) if special else tokenizer.add_tokens([added])
    found = [NewToken(content=name, id=_id_of(tokenizer, name), special=special) for name, special in wanted]
    return tuple(sorted(found, key=lambda token: token.id))


def write_tokens(folder: Path, tokens: Sequence[NewToken]) -> None:
    """Add tokens to the tokenizer files in a folder that is ours."""
    entries = [_entry(token) for token in tokens]
    content = _read(folder / TOKENIZER_FILE)
    known = {entry["content"] for entry in content.get("added_tokens") or []}
    content["added_tokens"] = [*(content.get("added_tokens") or []), *(e for e in entries if e["content"] not in known)]
    _write(folder / TOKENIZER_FILE, content)
    settings = _read(folder / _CONFIG_FILE) if (folder / _CONFIG_FILE).is_file() else {}
    _write(folder / _CONFIG_FILE, _with_tokens(settings, tokens, entries))
    if (folder / _LEGACY_FILE).is_file():
        listed = _read(folder / _LEGACY_FILE)
        _write(folder / _LEGACY_FILE, {**listed, **{token.content: token.id for token in tokens}})
    written = read_tokenizer(folder)
    assert all(written.token_to_id(token.content) == token.id for token in tokens), "ids follow from the order"


def _with_tokens(config: dict[str, Any], tokens: Sequence[NewToken], entries: Sequence[dict[str, Any]]) -> Any:
    changed = dict(config)
    if isinstance(config.get("added_tokens_decoder"), dict):
        more = {str(entry["id"]): {key: value for key, value in entry.items() if key != "id"} for entry in entries}
        changed["added_tokens_decoder"] = {**config["added_tokens_decoder"], **more}
    special = [token.content for token in tokens if token.special]
    if special:
        changed[RUN_TOKENS] = [*config.get(RUN_TOKENS, ()), *special]
    for key in _SPECIAL_LISTS:
        if isinstance(config.get(key), list):
            changed[key] = [*config[key], *(name for name in special if name not in config[key])]
    return changed


def _entry(token: NewToken) -> dict[str, Any]:
    return {
        "id": token.id,
        "content": token.content,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": not token.special,
        "special": token.special,
    }


def _id_of(tokenizer: Tokenizer, name: str) -> int:
    found = tokenizer.token_to_id(name)
    assert found is not None, "it was added"
    return int(found)


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _unreadable(folder: Path, reason: str) -> TunesmithError:
    return refusal(
        "model.tokens_unsupported",
        f"No tokens can be added to the tokenizer of {folder}: {reason}.",
        "Save the tokenizer in the fast form (save_pretrained with a current transformers), or leave the tokens out.",
        key="add_tokens",
        file=str(folder),
    )
