# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Log-probs that are kept equal those of the live reference, go on where a kill left them, and are never mixed up."""

import copy
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.training.batches import make_feedback, make_pairs
from tests.unit.training.runs import tiny_model
from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import Batch, LayoutKind, Scores
from tunesmith.data.collate import collate
from tunesmith.data.mismatched import MismatchedRows
from tunesmith.data.store import TokenRows, build_store
from tunesmith.models.scores import score_batch
from tunesmith.training import reference_cache
from tunesmith.training.reference_cache import ScoredRows, Scoring, prune, scored_rows

LENGTHS = tuple(5 + (7 * number) % 90 for number in range(60))
FACTS = {"model": ["a"], "adapters": [], "layout": "packed"}
PAIRS: Callable[[], TokenRows] = lambda: build_store(make_pairs(LENGTHS, seed=4))  # noqa: E731
FEEDBACK: Callable[[], TokenRows] = lambda: MismatchedRows(build_store(make_feedback(LENGTHS, seed=4)))  # noqa: E731


def logps_of(rows: TokenRows, number: int) -> list[float]:
    found = rows[number].reference_logps
    assert found is not None
    return [float(value) for value in found]


class Counting:
    """Scores by a tiny model, counts the rows, and may be killed after some batches."""

    def __init__(self, *, layout: LayoutKind = "packed", dies_after: int | None = None) -> None:
        self.model = tiny_model().eval()
        self.layout: LayoutKind = layout
        self.rows: list[int] = []
        self.batches, self.dies_after = 0, dies_after

    def score(self, batch: Batch) -> Scores:
        if self.batches == self.dies_after:
            raise KeyboardInterrupt
        self.batches += 1
        self.rows += [row.row for row in batch.rows]
        with torch.no_grad():
            return score_batch(self.model, batch)

    def scoring(self) -> Scoring:
        return Scoring(score=self.score, layout=self.layout, pad_id=0, device=torch.device("cpu"))


def kept(folder: Path, rows: TokenRows, counting: Counting, facts: dict[str, Any] | None = None) -> ScoredRows:
    return scored_rows(rows, folder, facts or FACTS, scoring=counting.scoring, label="rows")


@pytest.mark.parametrize("layout", ["packed", "padded"])
@pytest.mark.parametrize("made", [PAIRS, FEEDBACK], ids=["pairs", "feedback"])
def test_kept_scores_equal_live_ones_in_any_batch(
    made: Callable[[], TokenRows], layout: LayoutKind, tmp_path: Path
) -> None:
    counting = Counting(layout=layout)
    rows = kept(tmp_path, made(), counting)
    assert sorted(counting.rows) == list(range(len(LENGTHS))) and 1 < counting.batches < len(LENGTHS)
    for picked in ([0], [5, 59, 2, 17], list(range(30))):
        batch = collate([rows[number] for number in picked], layout="packed", pad_id=0)
        assert batch.reference_logps_N is not None
        with torch.no_grad():
            live = score_batch(counting.model, batch).logps_N
        assert torch.allclose(batch.reference_logps_N, live, atol=1e-5)


def test_a_second_run_scores_nothing(tmp_path: Path) -> None:
    first = kept(tmp_path, PAIRS(), Counting())
    again = Counting()
    second = kept(tmp_path, PAIRS(), again)
    assert again.batches == 0
    assert all(logps_of(first, n) == logps_of(second, n) for n in range(len(first)))


@pytest.mark.parametrize("changed", [{"model": ["b"]}, {"adapters": [["x"]]}, {"layout": "padded"}, {"template": "y"}])
def test_another_fact_scores_anew(changed: dict[str, Any], tmp_path: Path) -> None:
    kept(tmp_path, PAIRS(), Counting())
    again = Counting()
    kept(tmp_path, PAIRS(), again, {**FACTS, **changed})
    assert again.batches > 0


def test_one_other_token_scores_anew(tmp_path: Path) -> None:
    made = make_pairs(LENGTHS, seed=4)
    kept(tmp_path, build_store(made), Counting())
    ids = made[3].input_ids.copy()
    ids[0] += 1
    again = Counting()
    kept(tmp_path, build_store([*made[:3], replace(made[3], input_ids=ids), *made[4:]]), again)
    assert again.batches > 0


def test_a_damaged_file_scores_anew(tmp_path: Path) -> None:
    kept(tmp_path, PAIRS(), Counting())
    (file,) = tmp_path.glob("*/logps.f32")
    data = bytearray(file.read_bytes())
    data[40] ^= 1
    file.write_bytes(data)
    again = Counting()
    kept(tmp_path, PAIRS(), again)
    assert again.batches > 0


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Counting()
    expected = kept(tmp_path / "whole", PAIRS(), whole)
    monkeypatch.setattr(reference_cache, "_FLUSH_SECONDS", -1.0)
    with pytest.raises(KeyboardInterrupt):
        kept(tmp_path / "killed", PAIRS(), Counting(dies_after=1))
    again = Counting()
    found = kept(tmp_path / "killed", PAIRS(), again)
    assert again.batches == whole.batches - 1
    assert all(logps_of(expected, n) == logps_of(found, n) for n in range(len(found)))
    assert not list((tmp_path / "killed").glob("*.partial"))


def test_scores_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    counting = Counting()
    with torch.no_grad():
        next(counting.model.parameters()).fill_(float("nan"))
    with pytest.raises(TunesmithError) as caught:
        kept(tmp_path, PAIRS(), counting)
    assert caught.value.problems[0].code == "training.reference_not_finite"


def test_rows_with_scores_go_to_other_processes_without_them(tmp_path: Path) -> None:
    rows = kept(tmp_path, PAIRS(), Counting())
    expected = logps_of(rows, 7)
    other = copy.copy(rows)  # by __getstate__, as for another process
    assert "_logps" in vars(rows) and "_logps" not in vars(other)
    assert logps_of(other, 7) == expected
    (file,) = tmp_path.glob("*/logps.f32")
    assert file.stat().st_size == 4 * int(rows.num_supervised.sum())


def test_old_scores_make_room(tmp_path: Path) -> None:
    for number in range(3):
        kept(tmp_path, PAIRS(), Counting(), {**FACTS, "number": number})
    dones = sorted(tmp_path.glob("*/done.json"), key=lambda path: path.stat().st_mtime)
    size = dones[0].with_name("logps.f32").stat().st_size
    for age, done in zip((30, 20, 1), dones, strict=True):
        used = done.stat().st_mtime - age * 86400
        os.utime(done, (used, used))
    now = dones[0].stat().st_mtime + 30 * 86400
    assert prune(tmp_path, limit=2 * size, now=now) == 1 and not dones[0].exists()
    assert prune(tmp_path, limit=0, now=now) == 1 and dones[2].exists()  # used this week
