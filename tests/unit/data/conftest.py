# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A real tokenizer with its template, and a way to prepare small data sets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

from tunesmith.config.load import load_config
from tunesmith.config.run import RunConfig
from tunesmith.core.types import RowKind
from tunesmith.data.pipeline import PreparedData, prepare
from tunesmith.templates.base import ChatTemplate
from tunesmith.templates.chat import load_template
from tunesmith.templates.tokenizer import load_tokenizer

Prepare = Callable[..., PreparedData]


@pytest.fixture(scope="session")
def tokenizer(assets: Path) -> PreTrainedTokenizerBase:
    """Give SmolLM2's tokenizer."""
    return load_tokenizer(assets / "tokenizers" / "smollm2")


@pytest.fixture(scope="session")
def template(assets: Path, tokenizer: PreTrainedTokenizerBase) -> ChatTemplate:
    """Give SmolLM2's chat template."""
    return load_template(tokenizer, name=None, folder=assets / "tokenizers" / "smollm2")


@pytest.fixture(autouse=True)
def prepared_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep prepared data out of the user's cache; gives the folder of the shards."""
    monkeypatch.setattr("tunesmith.data.preparation.place.user_cache", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "prepared"


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., RunConfig]:
    """Give a function that makes a configuration of data keys; dataset_dir is `<tmp_path>/data`."""

    def make(**keys: Any) -> RunConfig:
        base = {"model_name_or_path": "m", "output_dir": str(tmp_path / "out"), "dataset_dir": str(tmp_path / "data")}
        return load_config({**base, **keys}, command="train")

    return make


@pytest.fixture
def prepare_data(
    configure: Callable[..., RunConfig], tokenizer: PreTrainedTokenizerBase, template: ChatTemplate
) -> Prepare:
    """Give a function that prepares the data sets of some keys; stage pt asks for texts."""

    def run(**keys: Any) -> PreparedData:
        kind: RowKind = "text" if keys.get("stage") == "pt" else "supervised"
        return prepare(configure(**keys), tokenizer=tokenizer, template=template, row_kind=kind)

    return run
