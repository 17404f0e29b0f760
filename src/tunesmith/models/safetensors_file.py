# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Safetensors files without torch: writing arrays as bfloat16, reading headers.

The format is eight bytes of header length, a JSON header and the raw little-endian values.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tunesmith.core.errors import refusal

MAX_HEADER_BYTES = 100_000_000


@dataclass(frozen=True, kw_only=True)
class TensorHeader:
    """What a header says of one tensor: dtype in the format's words (BF16, F32, …), shape, and bytes in the file."""

    dtype: str
    shape: tuple[int, ...]
    num_bytes: int


def to_bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Round float32 values to the bits of bfloat16, to nearest, ties to even (finite values only)."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return rounded.astype(np.uint16)


def write_bfloat16(
    path: Path, shapes: Mapping[str, Sequence[int]], tensors: Iterable[tuple[str, npt.NDArray[np.float32]]]
) -> None:
    """Write tensors as bfloat16, one at a time; `tensors` must yield the names of `shapes` in their order."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape, dtype=np.int64))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little"))
        stream.write(text)
        for expected, (name, values) in zip(shapes, tensors, strict=True):
            assert name == expected and values.shape == tuple(shapes[name]), f"{name} is not {expected} as announced"
            stream.write(to_bfloat16(values).astype("<u2", copy=False).tobytes())


def read_headers(path: Path) -> dict[str, TensorHeader]:
    """Read name → header of every tensor, or refuse a file that is cut, malformed or larger than it says."""
    size = path.stat().st_size
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
                raise ValueError(f"its header would be {length} bytes long in a file of {size} bytes")
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        tensors = {name: _header_of(entry) for name, entry in header.items()}
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        if end != size - 8 - length:
            raise ValueError(f"its tensors need {end} bytes but {size - 8 - length} follow the header")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise refusal(
            "model.weights_malformed",
            f"{path} is not a whole safetensors file: {error}.",
            "Copy or download the file again; a file cut short by a full disk or a broken transfer looks like this.",
            file=str(path),
        ) from error
    return tensors


def _header_of(entry: Mapping[str, object]) -> TensorHeader:
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not isinstance(shape, list) or not isinstance(offsets, list):
        raise ValueError("a tensor's shape or place is not a list")
    return TensorHeader(dtype=str(entry["dtype"]), shape=tuple(shape), num_bytes=offsets[1] - offsets[0])
