# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Every row of every file ends in exactly one place: kept, split into parts, or dropped for a named reason."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.data.conftest import Prepare
from tunesmith.core.errors import TunesmithError

LONG = "word " * 40
ROWS: dict[str, Any] = {
    "sound": {"instruction": "Say {n}.", "output": "{n}"},
    "long prompt": {"instruction": LONG + "{n}", "output": "{n}"},
    "long answer": {"instruction": "{n}", "output": LONG + "{n}"},
    "no answer": {"instruction": "{n}"},
    "wrong type": {"instruction": "{n}", "output": 5},
    "no JSON": '{"instruction": {n}',
}


def line(kind: str, number: int) -> str:
    row = ROWS[kind]
    text = row if isinstance(row, str) else json.dumps(row)
    return text.replace("{n}", f"{number}") + "\n"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kinds=st.lists(st.sampled_from(sorted(ROWS)), min_size=3, max_size=14),
    policy=st.sampled_from(["drop", "truncate_prompt", "split"]),
    val_size=st.sampled_from([0.0, 0.3]),
    max_samples=st.one_of(st.none(), st.integers(1, 14)),
)
def test_every_row_has_one_outcome(
    prepare_data: Prepare, tmp_path: Path, kinds: list[str], policy: str, val_size: float, max_samples: int | None
) -> None:
    kinds = ["sound", *kinds]
    (tmp_path / "data").mkdir(exist_ok=True)
    text = "".join(line(kind, number) for number, kind in enumerate(kinds))
    (tmp_path / "data" / "rows.jsonl").write_text(text, encoding="utf-8")
    keys: dict[str, Any] = {
        "cutoff_len": 48,
        "length_policy": policy,
        "max_row_loss": 1.0,
        "preprocessing_batch_size": 4,
    }
    if max_samples is not None:
        keys["max_samples"] = max_samples
    try:
        prepared = prepare_data(dataset="rows.jsonl", val_size=val_size, **keys)
    except TunesmithError as error:  # No row is left for one side: that is said.
        assert {problem.code for problem in error.problems} <= {"data.rows_none", "data.split_impossible"}
        return
    ledger = prepared.ledger.to_json()
    dropped = [row for group in ledger["reasons"] if group["outcome"] == "dropped" for row in group["rows"]]
    sides = [prepared.train, *prepared.evals.values()]
    used = [{rows.source(index).row for index in range(len(rows))} for rows in sides if rows is not None]
    found = Counter([*dropped, *(row for side in used for row in side)])
    assert found == Counter(range(len(kinds))), "each row is in one place"
    named = sum(group["count"] for group in ledger["reasons"])
    unnamed = ledger["rows_kept"] - sum(group["count"] for group in ledger["reasons"] if group["outcome"] != "dropped")
    assert named + unnamed == ledger["rows_in"] == len(kinds)
    by_side = {entry["split"]: entry["rows_kept"] for entry in ledger["datasets"]}
    assert by_side["train"] == len(used[0]) and by_side.get("eval", 0) == sum(map(len, used[1:]))


@pytest.mark.parametrize("by", ["group", "random"])
def test_cut_rows_are_counted_on_the_side_they_are_on(prepare_data: Prepare, tmp_path: Path, by: str) -> None:
    (tmp_path / "data").mkdir()
    text = "".join(line("long prompt" if number % 2 else "sound", number) for number in range(40))
    (tmp_path / "data" / "rows.jsonl").write_text(text, encoding="utf-8")
    prepared = prepare_data(
        dataset="rows.jsonl", cutoff_len=48, val_size=0.5, val_split_by=by, preprocessing_batch_size=7
    )
    assert prepared.train is not None
    cut = {group["split"]: set(group["rows"]) for group in prepared.ledger.to_json()["reasons"]}
    for name, rows in (("train", prepared.train), ("eval", prepared.evals["eval"])):
        sources = {rows.source(index).row for index in range(len(rows))}
        assert len(sources) == 20 and cut[name] == {row for row in sources if row % 2}
