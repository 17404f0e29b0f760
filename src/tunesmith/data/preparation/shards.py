# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Encoded blocks on disk: one .npy file that holds all arrays of a shard, and one JSON file that says where.

A shard is named by what it was made from, so it never changes; its JSON is written last, and a shard without it does
not exist.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith.core.files import write_bytes_atomic, write_text_atomic
from tunesmith.data.preparation.encoding import BadGroup, BlockFacts, EncodedBlock, RowGroup
from tunesmith.data.store import ARRAYS, Array, TokenStore

SHARD_VERSION = 1
_ALIGNMENT = 64
_TRAIT = "trait:"
# Written besides the arrays of the store, so that they need not be computed from the tokens.
_PER_ROW = ("lengths", "num_supervised")
_LEFT_OUT = ("source_files",)  # A shard is of one file, whose name is no part of it.


@dataclass(frozen=True, slots=True)
class Shard:
    """A finished shard: where it lies, what it is a hash of, and what it holds in numbers."""

    path: Path
    content: str
    num_rows: int
    num_tokens: int
    num_supervised: int

    @property
    def data_path(self) -> Path:
        """The file with the arrays."""
        return self.path.with_suffix(".npy")


def shard_path(folder: Path, key: str) -> Path:
    """Give the place of a shard's JSON file."""
    return folder / key[:2] / f"{key}.json"


def write_shard(path: Path, encoded: EncodedBlock) -> Shard:
    """Write a shard whole."""
    store = encoded.rows
    arrays = {name: store.arrays[name].astype(dtype, copy=False) for name, dtype in ARRAYS.items()}
    for name in _LEFT_OUT:
        del arrays[name]
    arrays |= {"lengths": store.lengths, "num_supervised": store.num_supervised}
    arrays |= {_TRAIT + name: values for name, values in store.traits.items()}
    data, table = _pack(arrays)
    facts = {
        "version": SHARD_VERSION,
        "content": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "rows": len(store),
        "tokens": int(store.lengths.sum()),
        "supervised": int(store.num_supervised.sum()),
        "names": store.names,
        "arrays": table,
        "facts": asdict(encoded.facts),
    }
    write_bytes_atomic(path.with_suffix(".npy"), data)
    write_text_atomic(path, json.dumps(facts, ensure_ascii=False, separators=(",", ":")))
    return _shard(path, facts)


def find_shard(path: Path) -> Shard | None:
    """Look a shard up; one that is not whole does not count."""
    facts = _read(path)
    return None if facts is None else _shard(path, facts)


def read_facts(path: Path) -> BlockFacts:
    """Read what became of the records of a shard's block."""
    facts = _known(path)["facts"]
    groups = tuple(RowGroup(**{**group, "rows": tuple(group["rows"])}) for group in facts["groups"])
    bad = tuple(BadGroup(**{**group, "rows": tuple(group["rows"])}) for group in facts["bad"])
    lists = {name: tuple(facts[name]) for name in ("columns", "too_long")}
    return BlockFacts(**{**facts, **lists, "groups": groups, "bad": bad})


def read_arrays(path: Path, *names: str) -> dict[str, Array]:
    """Read some arrays of a shard into memory; traits are called `trait:<name>`."""
    table = _known(path)["arrays"]
    found, data_path = {}, path.with_suffix(".npy")
    with data_path.open("rb") as stream:
        for name in names:
            dtype, size, offset = table[name]
            stream.seek(offset)
            found[name] = np.fromfile(stream, dtype=dtype, count=size)
    return found


def trait_names(path: Path) -> list[str]:
    """Name the traits of a shard's rows."""
    return [name.removeprefix(_TRAIT) for name in _known(path)["arrays"] if name.startswith(_TRAIT)]


def trait_array(name: str) -> str:
    """Give the name under which a trait is written."""
    return _TRAIT + name


def open_rows(shard: Shard, dataset: str, file: str, *, is_mapped: bool = True) -> TokenStore:
    """Open the rows of a shard as rows of a file; mapped arrays stay on disk until they are read."""
    facts = _known(shard.path)
    if is_mapped:
        flat = np.asarray(np.load(shard.data_path, mmap_mode="r", allow_pickle=False))
    else:
        flat = np.load(shard.data_path, allow_pickle=False)
    start = facts["bytes"] - flat.nbytes  # The table counts from the start of the file, with its header.
    arrays = {
        name: flat[offset - start : offset - start + size * np.dtype(dtype).itemsize].view(dtype)
        for name, (dtype, size, offset) in facts["arrays"].items()
    }
    rows = {name: array for name, array in arrays.items() if name in ARRAYS}
    rows["source_files"] = np.zeros(shard.num_rows, dtype=np.int32)
    traits = {name.removeprefix(_TRAIT): array for name, array in arrays.items() if name.startswith(_TRAIT)}
    return TokenStore(arrays=rows, names=tuple(facts["names"]), files=((dataset, file),), traits=traits)


def _pack(arrays: Mapping[str, Array]) -> tuple[bytes, dict[str, tuple[str, int, int]]]:
    """Lay arrays out one after the other in one array of bytes, and say where each begins in the file."""
    table: dict[str, tuple[str, int, int]] = {}
    parts, size = [], 0
    for name, array in arrays.items():
        padding = -size % _ALIGNMENT
        parts += [b"\0" * padding, np.ascontiguousarray(array).tobytes()]
        table[name] = (array.dtype.str, array.size, size + padding)
        size += padding + array.nbytes
    buffer = io.BytesIO()
    np.save(buffer, np.frombuffer(b"".join(parts), dtype=np.uint8), allow_pickle=False)
    data = buffer.getvalue()
    header = len(data) - size
    return data, {name: (dtype, count, offset + header) for name, (dtype, count, offset) in table.items()}


def _read(path: Path) -> dict[str, Any] | None:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        is_whole = facts["version"] == SHARD_VERSION and path.with_suffix(".npy").stat().st_size == facts["bytes"]
    except (OSError, ValueError, KeyError, TypeError):  # not there, or not ours to read
        return None
    return dict(facts) if is_whole else None


def _known(path: Path) -> dict[str, Any]:
    facts = _read(path)
    if facts is None:
        raise FileNotFoundError(f"the shard {path} was removed while it was in use")
    return facts


def _shard(path: Path, facts: Mapping[str, Any]) -> Shard:
    return Shard(path, facts["content"], facts["rows"], facts["tokens"], facts["supervised"])
