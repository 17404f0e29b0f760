# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The packing trial is run once for equal models and again whenever something that matters has changed."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.models.tiny_models import tiny_model
from tunesmith.models.attention import verdicts
from tunesmith.models.attention.packing import PackingReport, self_test
from tunesmith.models.attention.verdicts import remembered_self_test


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    tried: list[Any] = []

    def counted(model: Any) -> PackingReport:
        tried.append(model)
        return self_test(model)

    monkeypatch.setattr(verdicts, "self_test", counted)
    return tried


def test_equal_models_are_tried_once(trials: list[Any], tmp_path: Path) -> None:
    first = remembered_self_test(tiny_model("llama"), cache=tmp_path)
    assert remembered_self_test(tiny_model("llama"), cache=tmp_path) == first and first.is_equal
    assert len(trials) == 1


def test_what_matters_is_tried_again(trials: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remembered_self_test(tiny_model("llama"), cache=tmp_path)
    remembered_self_test(tiny_model("llama", dtype=torch.bfloat16), cache=tmp_path)
    remembered_self_test(tiny_model("llama", num_hidden_layers=2), cache=tmp_path)
    assert len(trials) == 3
    monkeypatch.setattr(verdicts, "version", lambda library: f"{library} of tomorrow")
    remembered_self_test(tiny_model("llama"), cache=tmp_path)
    assert len(trials) == 4
    other = tiny_model("llama")  # of the same name and configuration, in other code of a model's folder
    other.__class__ = type(type(other).__name__, (type(other),), {"__module__": "tunesmith_folder_code_0.modeling"})
    remembered_self_test(other, cache=tmp_path)
    assert len(trials) == 5


def test_failures_and_broken_files_are_tried_again(trials: list[Any], tmp_path: Path) -> None:
    refused = tiny_model("llama", attention="sdpa")
    assert not remembered_self_test(refused, cache=tmp_path).is_equal
    assert not remembered_self_test(refused, cache=tmp_path).is_equal
    assert len(trials) == 2 and not list(tmp_path.rglob("*.json"))
    remembered_self_test(tiny_model("llama"), cache=tmp_path)
    (path,) = tmp_path.rglob("*.json")
    path.write_text("{", encoding="utf-8")
    assert remembered_self_test(tiny_model("llama"), cache=tmp_path).is_equal and len(trials) == 4
