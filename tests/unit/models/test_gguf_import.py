# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""GGUF files of other kinds are refused by name, never converted into something else."""

from pathlib import Path
from typing import Any

import pytest

from tunesmith.core.errors import TunesmithError
from tunesmith.models.gguf_import import convert_gguf

gguf: Any = pytest.importorskip("gguf")


@pytest.mark.parametrize(("architecture", "splitting"), [("qwen2", "smollm"), ("llama", "llama-bpe"), ("llama", None)])
def test_other_kinds_are_refused(tmp_path: Path, architecture: str, splitting: str | None) -> None:
    path, folder = tmp_path / "model.gguf", tmp_path / "folder"
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_tokenizer_model("gpt2")
    if splitting is not None:
        writer.add_tokenizer_pre(splitting)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    folder.mkdir()
    with pytest.raises(TunesmithError) as caught:
        convert_gguf(path, folder)
    assert caught.value.problems[0].code == "model.gguf_unsupported" and list(folder.iterdir()) == []
