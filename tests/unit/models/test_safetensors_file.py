# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Safetensors written without torch are what torch reads, rounded as torch rounds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tunesmith.core.errors import TunesmithError
from tunesmith.models.safetensors_file import TensorHeader, read_headers, to_bfloat16, write_bfloat16


def test_rounding_is_torchs() -> None:
    source = np.random.default_rng(0)
    ties = (np.arange(1, 4000, dtype=np.uint32) << 15).view(np.float32)  # half-way between two bfloat16 values
    values = np.concatenate([source.normal(size=5000), source.normal(size=500) * 1e-39, ties, [0.0, -0.0, 3e38]])
    values = values.astype(np.float32)
    expected = torch.from_numpy(values).bfloat16().view(torch.uint16).numpy()
    assert np.array_equal(to_bfloat16(values), expected)


def test_written_file_is_read_by_others(tmp_path: Path) -> None:
    values = {"a.weight": np.ones((3, 5), np.float32) * 1.5, "b": np.arange(4, dtype=np.float32)}
    path = tmp_path / "model.safetensors"
    write_bfloat16(path, {name: value.shape for name, value in values.items()}, values.items())
    loaded = load_file(path)
    assert all(torch.equal(loaded[name].float(), torch.from_numpy(value)) for name, value in values.items())
    assert read_headers(path) == {
        "a.weight": TensorHeader(dtype="BF16", shape=(3, 5), num_bytes=30),
        "b": TensorHeader(dtype="BF16", shape=(4,), num_bytes=8),
    }


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: data[:7],
        lambda data: (2**60).to_bytes(8, "little") + data[8:],
        lambda data: data[:8] + b"[" + data[9:],
        lambda data: data.replace(b"data_offsets", b"data_offcuts"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "model.safetensors"
    write_bfloat16(path, {"a": (2,)}, [("a", np.ones(2, np.float32))])
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(TunesmithError) as caught:
        read_headers(path)
    assert caught.value.problems[0].code == "model.weights_malformed"
