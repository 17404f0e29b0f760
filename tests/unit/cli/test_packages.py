# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Quantisers are left out only where nothing speaks of them: no key, no plug-in, no folder that is quantised."""

import json
from pathlib import Path
from typing import Any

import pytest

from tunesmith.cli.packages import RECORD, needless_quantisers
from tunesmith.models.quantized_loading import BASE_FILE


@pytest.mark.parametrize(
    "keys",
    [
        {"quantization_bit": 4},
        {"optim": "paged_adamw_8bit"},
        {"optim": "ademamix"},
        {"export_quantization_bit": 4},
        {"qat": "int8"},
        {"adapter_name_or_path": ["owner/adapter"]},
        {"plugins": ["my_loss"]},
        {"model_name_or_path": "owner/name"},
    ],
)
def test_whoever_may_need_one_gets_it(keys: dict[str, Any]) -> None:
    assert needless_quantisers({"model_name_or_path": "smollm2-135m", **keys}) == ()


def test_a_plain_run_does_without() -> None:
    keys = {"model_name_or_path": "smollm2-135m", "optim": "adamw_torch_fused", "quantization_bit": None}
    assert "bitsandbytes" in needless_quantisers(keys)


def test_a_quantised_folder_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "model" / "config.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"model_type": "llama"}), encoding="utf-8")
    keys = {"model_name_or_path": str(file.parent)}
    assert needless_quantisers(keys)
    file.write_text(json.dumps({"quantization_config": {"quant_method": "awq"}}), encoding="utf-8")
    assert not needless_quantisers(keys)


@pytest.mark.parametrize("several", [False, True])
def test_the_record_of_a_quantised_base_is_seen(several: bool, tmp_path: Path) -> None:
    assert RECORD == BASE_FILE
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    names = [str(tmp_path / "first"), str(tmp_path / "second")]
    keys = {"model_name_or_path": "smollm2-135m", "adapter_name_or_path": names if several else ",".join(names)}
    assert needless_quantisers(keys)
    (tmp_path / "second" / RECORD).write_text("{}", encoding="utf-8")
    assert not needless_quantisers(keys)
