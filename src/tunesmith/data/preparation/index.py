# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What a folder of `tokenized_path` holds: which shards make up which data sets, for use where the files are not.

A run must ask for the same sets and rows with the same rules; otherwise it is told what differs.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith.config.run import RunConfig
from tunesmith.core.errors import TunesmithError, refusal
from tunesmith.core.files import write_text_atomic
from tunesmith.core.progress import say
from tunesmith.core.types import RowKind
from tunesmith.data.blocks import Block
from tunesmith.data.opening import data_seed
from tunesmith.data.preparation.planned import PlannedBlock, PlannedSet
from tunesmith.data.preparation.shards import find_shard, shard_path
from tunesmith.data.sampling import Chosen
from tunesmith.data.sources.base import Position, Span

INDEX_FILE = "prepared.json"
_VERSION = 1
# Errors that mean that the data is not at hand; then a folder of prepared data may stand in for it.
_ABSENT = frozenset({"data.file_missing", "data.info_missing", "data.set_unknown", "data.hub_unreachable"})


def asked_of(config: RunConfig, kind: RowKind) -> dict[str, Any]:
    """Give what decides on which rows are prepared, in plain JSON values."""
    data = config.data
    return {
        "rows": kind,
        "dataset": list(data.dataset),
        "eval_dataset": list(data.eval_dataset),
        "max_samples": data.max_samples,
        "seed": data_seed(config),
        "preprocessing_batch_size": data.preprocessing_batch_size,
    }


def save_index(config: RunConfig, kind: RowKind, rules: str, sets: Sequence[PlannedSet]) -> None:
    """Write the index of a folder that the user names."""
    if config.data.tokenized_path is None:
        return
    content = {
        "version": _VERSION,
        "rules": rules,
        "asked": asked_of(config, kind),
        "sets": [_set_to_json(planned) for planned in sets],
    }
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    path = _path(config.data.tokenized_path)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text_atomic(path, text)


def stand_in(config: RunConfig, kind: RowKind, rules: str, error: TunesmithError) -> list[PlannedSet]:
    """Give the sets of the index in place of data that cannot be found, or raise the error again."""
    is_absent = all(problem.code in _ABSENT for problem in error.problems)
    if config.data.tokenized_path is None or not is_absent or not _path(config.data.tokenized_path).is_file():
        raise error
    folder = Path(config.data.tokenized_path).expanduser()
    content = _read(folder / INDEX_FILE)
    _refuse_others(content, rules, asked_of(config, kind), folder)
    sets = [_set_from_json(entry) for entry in content["sets"]]
    keys = {one.key for planned in sets for one in planned.blocks}  # equal blocks share a shard
    missing = [key for key in keys if find_shard(shard_path(folder, key)) is None]
    if missing:
        raise _differs(folder, f"{len(missing)} of its shards are missing")
    say(f"The data files are not here; the data that was prepared in {folder} is used.")
    return sets


def _refuse_others(content: Mapping[str, Any], rules: str, asked: Mapping[str, Any], folder: Path) -> None:
    before = content["asked"]
    changed = [
        f"{key} was {before.get(key)!r} and is {value!r}" for key, value in asked.items() if before.get(key) != value
    ]
    if changed:
        raise _differs(folder, "; ".join(changed))
    if content["rules"] != rules:
        raise _differs(folder, "it was prepared with another template, tokenizer, length limit or version")


def _differs(folder: Path, reason: str) -> TunesmithError:
    return refusal(
        "data.tokenized_differs",
        f"The data files are not here, and the data prepared in {folder} does not fit this run: {reason}.",
        "Give the data files, so that it can be prepared anew, or the settings that it was prepared with.",
        key="tokenized_path",
        file=folder.as_posix(),
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] == _VERSION:
            return dict(content)
    except (ValueError, KeyError, TypeError):  # not ours
        pass
    raise _differs(path.parent, f"its {INDEX_FILE} cannot be read by this version")


def _path(folder: str) -> Path:
    return Path(folder).expanduser() / INDEX_FILE


def _set_to_json(planned: PlannedSet) -> dict[str, Any]:
    order = planned.chosen.order
    return {
        "part": planned.part,
        "name": planned.name,
        "num_rows": planned.chosen.num_rows,
        "order": None if order is None else order.tolist(),
        "left_out": planned.left_out,
        "blocks": [_block_to_json(one) for one in planned.blocks],
    }


def _block_to_json(planned: PlannedBlock) -> dict[str, Any]:
    block = planned.block
    return {
        "key": planned.key,
        "offset": planned.offset,
        "dataset": block.dataset,
        "file": block.file,
        "file_number": block.file_number,
        "start": asdict(block.span.start),
        "end": asdict(block.span.end),
        "digest": block.span.digest,
        "chosen": block.chosen,
    }


def _set_from_json(entry: Mapping[str, Any]) -> PlannedSet:
    order = None if entry["order"] is None else np.array(entry["order"], dtype=np.int64)
    return PlannedSet(
        part=entry["part"],
        name=entry["name"],
        chosen=Chosen(num_rows=entry["num_rows"], order=order),
        blocks=tuple(_block_from_json(one) for one in entry["blocks"]),
        left_out=tuple((file, count, tuple(rows)) for file, count, rows in entry["left_out"]),
    )


def _block_from_json(entry: Mapping[str, Any]) -> PlannedBlock:
    span = Span(start=Position(**entry["start"]), end=Position(**entry["end"]), digest=entry["digest"])
    block = Block(
        dataset=entry["dataset"],
        file=entry["file"],
        file_number=entry["file_number"],
        span=span,
        chosen=None if entry["chosen"] is None else tuple(entry["chosen"]),
    )
    return PlannedBlock(block=block, key=entry["key"], offset=entry["offset"])
