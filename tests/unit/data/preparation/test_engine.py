# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Shards are the same however they are made, never made twice, and a worker's end is told and outlived."""

import contextlib
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from transformers import PreTrainedTokenizerBase

from tests.unit.data.preparation.words import WordTokenizer, files_in, open_texts, tasks_of, workshop, write_texts
from tunesmith.core.errors import TunesmithError
from tunesmith.data.preparation import engine
from tunesmith.data.preparation.engine import EngineRules, Made, make_shards
from tunesmith.data.preparation.workers import StartMethod

NUM_BLOCKS = 12

can_fork = pytest.mark.skipif(sys.platform != "linux", reason="processes are only copied on Linux")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    return write_texts(tmp_path, [f"{number} {number + 1} 7" for number in range(10 * NUM_BLOCKS)])


def make(
    texts: Path, folder: Path, tokenizer: WordTokenizer | PreTrainedTokenizerBase | None = None, **rules: object
) -> Made:
    opened = open_texts(texts)
    return make_shards(workshop(tokenizer), tasks_of(opened, folder), replace(EngineRules(folder=folder), **rules))  # type: ignore[arg-type]


def workers_of(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children()
    return []


def wait_until(is_so: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.005)


@can_fork
def test_any_number_of_workers_gives_the_same_bytes(texts: Path, tmp_path: Path) -> None:
    made = {count: make(texts, tmp_path / str(count), num_workers=count, is_eager=True) for count in (0, 1, 2, 16)}
    assert [made[count].num_workers for count in made] == [0, 0, 2, NUM_BLOCKS]
    found = [files_in(tmp_path / str(count)) for count in made]
    assert len(found[0]) == 2 * NUM_BLOCKS and all(files == found[0] for files in found)


@pytest.mark.slow
def test_workers_that_start_anew_give_the_same_bytes(
    texts: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    make(texts, tmp_path / "here", tokenizer, num_workers=0)
    spawned: StartMethod = "spawn"
    made = make(texts, tmp_path / "there", tokenizer, num_workers=2, is_eager=True, start_method=spawned)
    assert made.num_workers == 2 and files_in(tmp_path / "there") == files_in(tmp_path / "here")


def test_few_rows_start_no_worker(tmp_path: Path) -> None:
    texts = write_texts(tmp_path, ["1 2 3"] * 600)
    started = time.monotonic()
    tasks = tasks_of(open_texts(texts, block_rows=1000), tmp_path / "shards")
    made = make_shards(workshop(), tasks, EngineRules(folder=tmp_path / "shards", num_workers=16))
    assert made.num_workers == 0 and made.num_rows == 600 and time.monotonic() - started < 5


@can_fork
def test_workers_start_when_they_pay(texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "num_cores", lambda: 2)
    made = make(texts, tmp_path / "shards", WordTokenizer(seconds=0.15), num_workers=16)
    assert made.num_workers == 2 and made.num_made == NUM_BLOCKS


def test_finished_shards_are_found(texts: Path, tmp_path: Path) -> None:
    first = make(texts, tmp_path / "shards")
    again = make(texts, tmp_path / "shards")
    assert (first.num_made, first.num_reused, again.num_made, again.num_reused) == (NUM_BLOCKS, 0, 0, NUM_BLOCKS)
    assert again.shards == first.shards
    with texts.open("a", encoding="utf-8") as stream:
        stream.write("5 6\n")
    longer = make(texts, tmp_path / "shards")
    assert (longer.num_made, longer.num_reused) == (1, NUM_BLOCKS)
    assert make(texts, tmp_path / "shards", is_overwriting=True).num_made == NUM_BLOCKS + 1


def test_a_damaged_shard_is_made_again(texts: Path, tmp_path: Path) -> None:
    make(texts, tmp_path / "shards")
    before = files_in(tmp_path / "shards")
    first, second = sorted((tmp_path / "shards").rglob("*.npy"))[:2]
    first.write_bytes(first.read_bytes()[:-1])
    second.with_suffix(".json").write_text("{", encoding="utf-8")
    assert make(texts, tmp_path / "shards").num_made == 2
    assert files_in(tmp_path / "shards") == before


@can_fork
def test_nothing_is_redone_after_kills(texts: Path, tmp_path: Path) -> None:
    make(texts, tmp_path / "whole")
    folder, moments = tmp_path / "killed", random.Random(7)

    def finished() -> int:
        return len(list(folder.rglob("*.json")))

    def kill_after(goal: int, num_workers: int) -> None:
        process = multiprocessing.get_context("fork").Process(
            target=make,
            args=(texts, folder, WordTokenizer(seconds=0.03)),
            kwargs={"num_workers": num_workers, "is_eager": True},
        )
        process.start()
        assert process.pid is not None
        wait_until(lambda: finished() >= goal)
        time.sleep(moments.random() * 0.03)
        workers = workers_of(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert not psutil.wait_procs(workers, timeout=10)[1]

    for kill in range(5):
        kill_after(min(finished() + moments.randint(1, 2), NUM_BLOCKS), kill % 3)
    kept = finished()
    last = make(texts, folder)
    assert last.num_reused == kept > 4 and last.num_made == NUM_BLOCKS - kept
    shards = {name: data for name, data in files_in(folder).items() if not name.startswith(".")}
    assert {name for name in shards if not name.endswith(".lock")} == set(files_in(tmp_path / "whole"))
    assert all(shards[name] == data for name, data in files_in(tmp_path / "whole").items())


@can_fork
@pytest.mark.parametrize(("word", "code"), [("die", "resources.worker_killed"), ("refuse", "data.type_wrong")])
def test_the_end_of_a_worker_is_told_by_code(tmp_path: Path, word: str, code: str) -> None:
    texts = write_texts(tmp_path, ["1 2"] * 95 + [f"3 {word}"] + ["1"] * 10)
    with pytest.raises(TunesmithError) as caught:
        make(texts, tmp_path / "shards", WordTokenizer(pid=os.getpid()), num_workers=2, is_eager=True)
    assert caught.value.problems[0].code == code
    assert make(texts, tmp_path / "shards", WordTokenizer(pid=os.getpid())).num_reused > 0


@can_fork
def test_an_error_of_ours_travels_as_it_is(tmp_path: Path) -> None:
    texts = write_texts(tmp_path, ["1 2"] * 20 + ["3 fail"])
    with pytest.raises(ZeroDivisionError, match="the text fails"):
        make(texts, tmp_path / "shards", WordTokenizer(pid=os.getpid()), num_workers=2, is_eager=True)


@can_fork
def test_workers_end_with_their_parent(texts: Path, tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(
        target=make,
        args=(texts, tmp_path / "shards", WordTokenizer(seconds=0.2)),
        kwargs={"num_workers": 2, "is_eager": True},
    )
    process.start()
    pid = process.pid
    assert pid is not None
    wait_until(lambda: len(workers_of(pid)) == 2)
    workers = workers_of(pid)
    os.kill(pid, signal.SIGKILL)
    process.join()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


@can_fork
def test_an_interrupt_ends_all_processes(texts: Path, tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(
        target=make,
        args=(texts, tmp_path / "shards", WordTokenizer(seconds=0.1)),
        kwargs={"num_workers": 2, "is_eager": True},
    )
    process.start()
    pid = process.pid
    assert pid is not None
    wait_until(lambda: list((tmp_path / "shards").rglob("*.json")))
    workers = workers_of(pid)
    os.kill(pid, signal.SIGINT)
    process.join(10)
    assert process.exitcode == 1 and len(workers) == 2
    assert not psutil.wait_procs(workers, timeout=10)[1]


def test_another_rank_waits_for_the_shards(texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_GRACE_SECONDS", 0.05)
    monkeypatch.setattr(engine, "_WAIT_SECONDS", 0.01)
    with pytest.raises(TunesmithError, match=r"data\.preparation_absent"):
        make(texts, tmp_path / "shards", is_waiting=True)
    made = make(texts, tmp_path / "shards")
    assert make(texts, tmp_path / "shards", is_waiting=True).shards == made.shards


@can_fork
def test_two_processes_do_not_make_the_same_shards(texts: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    slow = WordTokenizer(seconds=0.05)
    process = multiprocessing.get_context("fork").Process(target=make, args=(texts, folder, slow))
    process.start()
    wait_until(lambda: list(folder.rglob("*.json")))
    made = make(texts, folder, slow)
    process.join()
    assert process.exitcode == 0 and made.num_made == 0 and len(made.shards) == NUM_BLOCKS
