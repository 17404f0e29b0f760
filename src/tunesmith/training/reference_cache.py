# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The reference's log-probs, computed once and kept on disk: float32, one for each supervised token, in row order.

A folder is named after the hash of all facts that decide the numbers, so anything that changes computes anew. Making
them streams through the rows, goes on where a kill left it, and ends with a hash of the file.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tunesmith.core.errors import refusal
from tunesmith.core.files import sha256_file, write_text_atomic
from tunesmith.core.progress import Progress, say
from tunesmith.core.types import Batch, FloatArray, IntArray, LayoutKind, RowRef, Scores, TokenRow
from tunesmith.data.bins import Indices, offsets_of
from tunesmith.data.collate import collate
from tunesmith.data.plan import PlanRules
from tunesmith.data.preparation.lock import hold_preparation
from tunesmith.data.store import TokenRows, Traits
from tunesmith.training.batches import plan_in_order, to_device

MAX_BYTES = 16 * 10**9
# The cut into batches is part of the numbers' last bits, so it is the same whatever a run trains with.
_BATCH_TOKENS = {"cpu": 2048}
_BATCH_TOKENS_OF_OTHERS = 8192
_FORMAT = 1
_SCORES, _DONE, _PROGRESS = "logps.f32", "done.json", "progress.json"
_FLUSH_SECONDS = 20.0
_IN_USE_SECONDS = 7 * 86400


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How rows are scored: by a function without gradient and dropout, in a layout, on a device."""

    score: Callable[[Batch], Scores]
    layout: LayoutKind
    pad_id: int
    device: torch.device


class ScoredRows:
    """Rows that carry the log-probs of the reference; where those lie is mapped when the first row is read."""

    def __init__(self, rows: TokenRows, path: Path) -> None:
        self._rows, self._path = rows, path
        self._offsets = target_offsets(rows)

    def __getstate__(self) -> dict[str, Any]:
        """Leave what is mapped behind: another process maps it anew."""
        return {name: value for name, value in self.__dict__.items() if name != "_logps"}

    def __len__(self) -> int:
        """Count the rows."""
        return len(self._rows)

    def __getitem__(self, index: int) -> TokenRow:
        """Give row `index`."""
        return replace(self._rows[index], reference_logps=self._logps[slice(*self._offsets[index : index + 2])])

    def source(self, index: int) -> RowRef:
        """Say where row `index` came from."""
        return self._rows.source(index)

    @cached_property
    def _logps(self) -> FloatArray:
        return open_scores(self._path, int(self._offsets[-1]), mode="r")

    @property
    def lengths(self) -> IntArray:
        """Tokens of each row."""
        return self._rows.lengths

    @property
    def num_supervised(self) -> IntArray:
        """Tokens with a non-zero loss weight, of each row."""
        return self._rows.num_supervised

    @property
    def fingerprint(self) -> str:
        """Hash of the rows in their order (sha256, hex)."""
        return self._rows.fingerprint

    @property
    def traits(self) -> Traits:
        """Numbers of each row that judgement and splitting read."""
        return self._rows.traits


def target_offsets(rows: TokenRows) -> Indices:
    """Give where the log-probs of each row begin."""
    return offsets_of(rows.num_supervised)


def open_scores(path: Path, count: int, *, mode: str) -> FloatArray:
    """Map a file of log-probs; an empty file cannot be mapped."""
    if not count:
        return np.zeros(0, dtype=np.float32)
    mapped: FloatArray = np.memmap(path, dtype=np.float32, mode=mode, shape=(count,))  # type: ignore[call-overload]
    return mapped


def key_of(facts: Mapping[str, Any]) -> str:
    """Name the folder of some facts."""
    text = json.dumps({"format": _FORMAT, **facts}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def scored_rows(
    rows: TokenRows, cache: Path, facts: Mapping[str, Any], *, scoring: Callable[[], Scoring], label: str
) -> ScoredRows:
    """Give rows with the reference's log-probs: those that are kept, or made now."""
    facts = {**facts, "rows": rows.fingerprint}
    folder = cache / key_of(facts)
    with hold_preparation(cache / f".{folder.name}.lock"):
        if is_whole(folder, rows):
            say(f"The reference's log-probs of {label} are known: {folder}.")
        else:
            _make(rows, folder, facts, scoring=scoring(), label=label)
    (folder / _DONE).touch()  # used now
    prune(cache, limit=MAX_BYTES, now=time.time())
    return ScoredRows(rows, folder / _SCORES)


def is_whole(folder: Path, rows: TokenRows) -> bool:
    """Say whether log-probs of all rows are there as they were written."""
    done, scores = folder / _DONE, folder / _SCORES
    if not done.is_file() or not scores.is_file():
        return False
    expected = int(target_offsets(rows)[-1]) * 4
    told = json.loads(done.read_text(encoding="utf-8"))
    return scores.stat().st_size == expected and told["sha256"] == sha256_file(scores)


def _make(rows: TokenRows, folder: Path, facts: Mapping[str, Any], *, scoring: Scoring, label: str) -> None:
    """Score all rows into a folder aside, which takes its name when it is whole."""
    shutil.rmtree(folder, ignore_errors=True)
    partial = folder.with_name(f"{folder.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    offsets = target_offsets(rows)
    started = _begin(partial, int(offsets[-1]))
    _score_all(rows, partial, offsets, scoring=scoring, label=label, start=started)
    told = {"sha256": sha256_file(partial / _SCORES), "facts": dict(facts)}
    (partial / _PROGRESS).unlink(missing_ok=True)
    write_text_atomic(partial / _DONE, json.dumps(told, indent=1, sort_keys=True) + "\n")
    partial.rename(folder)


def _begin(partial: Path, count: int) -> int:
    """Give the number of batches that an earlier start has scored; a fresh file is filled with zeros."""
    scores, progress = partial / _SCORES, partial / _PROGRESS
    if progress.is_file() and scores.is_file() and scores.stat().st_size == 4 * count:
        return int(json.loads(progress.read_text(encoding="utf-8"))["batches"])
    with scores.open("wb") as stream:
        stream.truncate(4 * count)
    return 0


def _score_all(rows: TokenRows, partial: Path, offsets: Indices, *, scoring: Scoring, label: str, start: int) -> None:
    tokens = _BATCH_TOKENS.get(scoring.device.type, _BATCH_TOKENS_OF_OTHERS)
    rules = PlanRules(seed=0, batch_rows=1, tokens_per_batch=tokens, layout=scoring.layout, shuffle=False)
    plan = plan_in_order(rows, rules)
    logps = open_scores(partial / _SCORES, int(offsets[-1]), mode="r+")
    done = sum(len(plan[number]) for number in range(start))
    progress = Progress(f"scoring {label} by the reference", len(rows), "rows", start=done)
    saved = time.monotonic()
    for number in range(start, len(plan)):
        picked = plan[number]
        for row, found in zip(picked, _scores_of(rows, picked, scoring), strict=True):
            logps[offsets[row] : offsets[row + 1]] = found
        progress.advance(len(picked))
        if time.monotonic() - saved > _FLUSH_SECONDS:
            _keep(partial, logps, number + 1)
            saved = time.monotonic()
    _keep(partial, logps, len(plan))
    progress.close()


def _keep(partial: Path, logps: FloatArray, batches: int) -> None:
    if isinstance(logps, np.memmap):
        logps.flush()
    write_text_atomic(partial / _PROGRESS, json.dumps({"batches": batches}))


def _scores_of(rows: TokenRows, picked: tuple[int, ...], scoring: Scoring) -> Iterator[FloatArray]:
    """Give the log-probs of each row of a batch."""
    batch = collate([rows[row] for row in picked], layout=scoring.layout, pad_id=scoring.pad_id)
    counts = torch.bincount(batch.segment_row_S[batch.target_segment_N], minlength=len(picked))
    found: FloatArray = scoring.score(to_device(batch, scoring.device)).logps_N.float().cpu().numpy()
    if not np.isfinite(found).all():
        raise refusal(
            "training.reference_not_finite",
            f"The reference gives log-probs that are not finite, in a batch with row {batch.rows[0].row} of "
            f"{batch.rows[0].file}.",
            "Look at the model and its number format: nothing can be compared with it.",
            file=batch.rows[0].file,
        )
    yield from np.split(found, counts.cumsum(0)[:-1].tolist())


def prune(cache: Path, *, limit: int, now: float) -> int:
    """Remove log-probs that were not used for longest until the others are within the limit; give how many."""
    for left in cache.glob("*.partial"):
        if now - left.stat().st_mtime > _IN_USE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    found = [(path.stat().st_mtime, path.parent) for path in cache.glob(f"*/{_DONE}")]
    total, removed = sum((folder / _SCORES).stat().st_size for _, folder in found), 0
    for used, folder in sorted(found):
        if total <= limit or now - used < _IN_USE_SECONDS:
            break
        total -= (folder / _SCORES).stat().st_size
        shutil.rmtree(folder, ignore_errors=True)
        removed += 1
    return removed
