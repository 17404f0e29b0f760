# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A fingerprint changes with what it identifies, also deep inside a large file."""

from pathlib import Path

import pytest

from tunesmith.jobs import fingerprints
from tunesmith.jobs.fingerprints import file_fingerprint, folder_fingerprint
from tunesmith.templates.tokenizer import load_tokenizer, tokenizer_fingerprint


@pytest.mark.parametrize("whole_bytes", [10, 10_000_000])
def test_files(whole_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "_WHOLE_BYTES", whole_bytes)
    path = tmp_path / "model.safetensors"
    content = bytearray(b"weights " * 100_000)
    path.write_bytes(content)
    first = file_fingerprint(path)
    assert first == file_fingerprint(path)
    content[400_000] ^= 1
    path.write_bytes(content)
    changed = file_fingerprint(path)
    path.write_bytes(content[:-8])
    assert len({first, changed, file_fingerprint(path)}) == 3


def test_a_model_folder_is_its_configuration_and_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes(b"1")
    first = folder_fingerprint(tmp_path)
    (tmp_path / "README.md").write_text("changed", encoding="utf-8")
    assert folder_fingerprint(tmp_path) == first
    (tmp_path / "model.safetensors").write_bytes(b"2")
    assert folder_fingerprint(tmp_path) != first


def test_a_tokenizer_is_what_makes_ids(assets: Path) -> None:
    tokenizer = load_tokenizer(assets / "tokenizers" / "smollm2")
    first = tokenizer_fingerprint(tokenizer)
    assert first == tokenizer_fingerprint(load_tokenizer(assets / "tokenizers" / "smollm2"))
    tokenizer.add_tokens(["<new>"])
    assert tokenizer_fingerprint(tokenizer) != first
