# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Loads a model folder's tokenizer with the ids that its files define."""

import hashlib
import json
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from tunesmith.core.errors import refusal, warning
from tunesmith.core.folder_code import allowed_class
from tunesmith.core.report import emit_warning
from tunesmith.core.types import RUN_TOKENS


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a local folder, without network and without running code from it."""
    tokenizer = _load(AutoTokenizer, folder)
    written = folder / "tokenizer.json"
    if tokenizer.is_fast and written.is_file() and not _is_as_written(tokenizer, written):
        # transformers 5 rebuilds some classes (LlamaTokenizer) from the vocabulary and drops the file's normalizer.
        emit_warning(
            warning(
                "template.tokenizer_rebuilt",
                f"transformers would rebuild {type(tokenizer).__name__} of {folder} with other rules than its "
                "tokenizer.json, which gives other ids; the file is used as written.",
                'To silence this, set "tokenizer_class": "PreTrainedTokenizerFast" in tokenizer_config.json.',
                file=str(written),
            )
        )
        tokenizer = _load(PreTrainedTokenizerFast, folder)
    return tokenizer


def padding_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Choose an id to fill batches with: it is masked by position, so it need not be a token of its own."""
    for candidate in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if isinstance(candidate, int):
            return candidate
    return 0


def _load(kind: Any, folder: Path) -> PreTrainedTokenizerBase:
    own = allowed_class(folder, "AutoTokenizer", file="tokenizer_config.json") if kind is AutoTokenizer else None
    try:
        if own is not None:
            own_tokenizer: PreTrainedTokenizerBase = own.from_pretrained(folder, local_files_only=True)
            return own_tokenizer
        tokenizer: PreTrainedTokenizerBase = kind.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise refusal(
            "template.tokenizer_missing",
            f"No tokenizer can be loaded from {folder}: {first_line}",
            "Give a model folder with tokenizer.json and tokenizer_config.json.",
            file=str(folder),
        ) from error
    return tokenizer


def _is_as_written(tokenizer: PreTrainedTokenizerBase, written: Path) -> bool:
    """Compare the parts of the pipeline that decide on ids with the file's."""
    content = json.loads(written.read_text(encoding="utf-8"))
    backend = tokenizer.backend_tokenizer
    parts = {"normalizer": backend.normalizer, "pre_tokenizer": backend.pre_tokenizer}
    return all(_rules(content.get(name)) == _rules(_state(part)) for name, part in parts.items())


def _state(part: Any) -> Any:
    return json.loads(part.__getstate__()) if part is not None else None


def _rules(part: Any) -> Any:
    """Reduce a part of a pipeline to what decides on ids: an empty sequence is nothing, positions do not matter."""
    if isinstance(part, dict):
        if part.get("type") == "Sequence" and not (part.get("normalizers") or part.get("pretokenizers")):
            return None
        return {key: _rules(value) for key, value in part.items() if key != "trim_offsets"}
    if isinstance(part, list):
        return [_rules(item) for item in part]
    return part


def tokens_of_the_run(tokenizer: PreTrainedTokenizerBase) -> set[str]:
    """List the special tokens that a user's run added: they were added to occur in texts."""
    return set(tokenizer.init_kwargs.get(RUN_TOKENS, ()))


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hash what turns text into ids."""
    if tokenizer.is_fast:
        kept = "".join(sorted(tokens_of_the_run(tokenizer)))
        return hashlib.sha256((tokenizer.backend_tokenizer.to_str() + kept).encode()).hexdigest()
    return hashlib.sha256(repr(sorted(tokenizer.get_vocab().items())).encode()).hexdigest()
