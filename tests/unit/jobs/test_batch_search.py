# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""`auto` takes the largest pass that fits and keeps the rows of the step; resumes repeat it; too little is refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tunesmith.config.load import load_config
from tunesmith.core.errors import TunesmithError
from tunesmith.jobs import batch_search, train
from tunesmith.jobs.batch_search import free_bytes, run_probe, sizes_of, with_batch
from tunesmith.training.batch_fit import BatchSize

Keys = dict[str, Any]


@pytest.fixture
def keys(tiny_llama_folder: Path, tiny_dataset: Path, tmp_path: Path) -> Keys:
    """Give the keys of a sound run of 3 steps on 24 rows."""
    return {
        "model_name_or_path": str(tiny_llama_folder),
        "dataset": "tiny",
        "dataset_dir": str(tiny_dataset),
        "output_dir": str(tmp_path / "run"),
        "finetuning_type": "lora",
        "use_cpu": True,
        "num_train_epochs": 1,
        "learning_rate": 4e-4,
        "logging_steps": 1,
        "save_steps": 2,
    }


def run(keys: Keys, **changes: Any) -> Keys:
    return train.run(load_config({**keys, **changes}, command="train"))


def answering(fits: list[bool], asked: list[Mapping[str, Any]]) -> Any:
    """Stand in for the child: give these answers, up to the first that fits."""

    def probe(request: Mapping[str, Any], *, limit_bytes: int) -> list[bool]:
        asked.append(request)
        return fits[: fits.index(True) + 1] if True in fits else fits

    return probe


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"per_device_train_batch_size": "auto"}, [(8, 1), (4, 2), (2, 4), (1, 8)]),
        ({"per_device_train_batch_size": "auto", "gradient_accumulation_steps": 3},
         [(24, 1), (12, 2), (8, 3), (6, 4), (4, 6), (3, 8), (2, 12), (1, 24)]),
        ({"per_device_train_batch_size": 3, "auto_find_batch_size": True}, [(3, 1), (1, 3)]),
    ],
)  # fmt: skip
def test_the_rows_of_the_step_are_those_without_the_search(keys: Keys, given: Keys, expected: Any) -> None:
    config = load_config({**keys, **given}, command="train")
    assert config.training.finds_batch
    assert [(size.rows, size.passes) for size in sizes_of(config)] == expected


def test_tokens_of_the_step_are_the_most_its_rows_may_have(keys: Keys) -> None:
    config = load_config({**keys, "tokens_per_batch": "auto", "cutoff_len": 512}, command="train")
    assert [(size.tokens, size.passes) for size in sizes_of(config)] == [(4096, 1), (2048, 2), (1024, 4), (512, 8)]


def test_numbers_replace_auto(keys: Keys) -> None:
    config = load_config({**keys, "per_device_train_batch_size": "auto"}, command="train")
    settled = with_batch(config, BatchSize(rows=2, passes=4))
    assert settled.training.per_device_train_batch_size == 2
    assert settled.training.gradient_accumulation_steps == 4
    assert not settled.training.finds_batch


@pytest.mark.slow
def test_enough_memory_needs_no_trial_and_trains_the_same(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(batch_search, "run_probe", answering([], asked))
    found = run(keys, per_device_train_batch_size="auto", output_dir=f"{keys['output_dir']}-auto")
    plain = run(keys, per_device_train_batch_size=8)
    assert not asked
    assert found["choices"]["batch"] == {"rows": 8, "tokens": None, "passes": 1}
    assert found["train_loss"] == plain["train_loss"] and found["steps"] == plain["steps"]


@pytest.mark.slow
def test_little_memory_takes_what_the_child_could_and_trains_the_same(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Mapping[str, Any]] = []
    monkeypatch.setattr(batch_search, "run_probe", answering([False, False, True], asked))
    monkeypatch.setattr(batch_search, "free_bytes", lambda: 1000)
    found = run(keys, per_device_train_batch_size="auto")
    assert found["choices"]["batch"] == {"rows": 2, "tokens": None, "passes": 4}
    lengths = [len(row["input_ids"]) for row in asked[0]["rows"]]
    assert lengths == sorted(lengths, reverse=True) and asked[0]["counts"] == [8, 4, 2, 1]
    monkeypatch.setattr(batch_search, "run_probe", answering([True], asked))
    keys["num_train_epochs"] = 2
    again = run(keys, per_device_train_batch_size="auto", resume_from_checkpoint=True)
    assert len(asked) == 1 and again["choices"]["batch"] == found["choices"]["batch"]
    monkeypatch.undo()
    plain = run({**keys, "num_train_epochs": 1, "output_dir": f"{keys['output_dir']}-plain"})
    assert found["train_loss"] == pytest.approx(plain["train_loss"], rel=1e-4)
    assert found["steps"] == plain["steps"]


def test_a_row_that_fits_nowhere_is_refused(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(batch_search, "run_probe", answering([], asked))
    monkeypatch.setattr(batch_search, "free_bytes", lambda: 1000)
    with pytest.raises(TunesmithError) as caught:
        run(keys, per_device_train_batch_size="auto")
    assert [problem.code for problem in caught.value.problems] == ["resources.batch_too_large"]
    assert [len(request["counts"]) for request in asked] == [4, 3, 2, 1]  # each ended child is followed by another


@pytest.mark.slow
def test_the_child_computes_and_is_ended_at_its_limit(keys: Keys) -> None:
    config = load_config({**keys, "per_device_train_batch_size": "auto"}, command="train")
    row = {"input_ids": list(range(3, 40)), "weights": [1.0] * 37, "segment_lengths": [37], "segment_parents": [-1],
           "segment_names": ["text"], "label": None}  # fmt: skip
    request = {"config": config.to_yaml(), "command": "train", "layout": "packed", "pad_id": 2, "counts": [2, 1],
               "rows": [row, row], "limit_bytes": 4 * 2**30}  # fmt: skip
    assert run_probe(request, limit_bytes=4 * 2**30) == [True]
    assert run_probe(request, limit_bytes=2**20) == []
    # The system's own limit: the address space may grow by nothing, so no pass can get its tensors.
    assert True not in run_probe({**request, "limit_bytes": 0, "rows": [_long(row)] * 2}, limit_bytes=8 * 2**30)


def _long(row: Keys) -> Keys:
    count = 1500
    return {**row, "input_ids": [7] * count, "weights": [1.0] * count, "segment_lengths": [count]}


def test_free_memory_is_a_sane_number() -> None:
    assert 2**20 < free_bytes() < 2**50
