# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""How long a start takes: `version`, `help`, and from the command to the end of the first step, beside the peers.

    python bench/startup.py [--environments bench/environments] [--rounds 5] [--budget_minutes 30] [--fresh]

One row a step on the 135M model (LoRA, bf16), caches as they are after one run: data prepared, verdicts known, nothing
compiled. The systems run in turn; the first round fills the caches and is not counted. Peers are stopped by a callback
(training/stamps.py), ours by the first line of its log, which is later than the end of the step.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import yaml
from cells import Cell, run_cells
from training.launch import Places, environment_of, run_file, train
from training.order import Order
from training.rows import write_sft_rows
from training.settings import PEERS

from tunesmith.models.embedded import embedded_folder

HERE = Path(__file__).parent
NAME = "startup"
_ROWS, _POLL_SECONDS, _LIMIT_SECONDS = 200, 0.005, 300
_QUICK = {"version": ("version",), "help": ("help",), "help_key": ("help", "lora_rank")}


def main() -> None:
    """Measure all cells that are not there yet and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", type=Path, default=HERE / "environments")
    parser.add_argument("--work", type=Path, default=HERE / "environments" / "work")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--budget_minutes", type=float, default=30)
    parser.add_argument("--name", default=NAME, help="folder of the results")
    parser.add_argument("--fresh", action="store_true", help="measure again what has a result")
    chosen = parser.parse_args()
    if chosen.fresh:
        shutil.rmtree(HERE / "results" / chosen.name, ignore_errors=True)
    results = run_cells(chosen.name, _cells(chosen), budget_minutes=chosen.budget_minutes)
    for line in summary_lines(results):
        print(line)


def _cells(chosen: argparse.Namespace) -> list[Cell]:
    places = Places(
        environments=chosen.environments.absolute(),
        work=chosen.work.absolute(),
        model=embedded_folder("smollm2-135m"),
    )
    systems = ["tunesmith", *(peer for peer in PEERS if places.has(peer))]
    for peer in PEERS:
        if not places.has(peer):
            print(f"{peer}: no environment in {places.environments} (bench/peers.sh makes it); left out")
    cells = []
    for number in range(chosen.rounds + 1):
        for system in systems:
            cells.append(Cell(name=f"{system}-{number}", measure=partial(_first_step, system, places)))
        for verb, words in _QUICK.items():
            cells.append(Cell(name=f"{verb}-{number}", measure=partial(_quick, words)))
    return cells


def _first_step(system: str, places: Places) -> dict[str, Any]:
    """Give the seconds from the command to the end of the first step."""
    order = places.order(f"startup/{system}", 2, batch=1, accumulation=1)
    write_sft_rows(order.place, _ROWS)
    if system == "tunesmith":
        return _ours(order, places)
    stamps = train(system, order, places, warmup=1)
    begin, first = stamps["seconds_to_first_step"], stamps["step_seconds"][0]
    return {"seconds": begin + first, "begin_seconds": begin, "cpu_seconds": stamps["cpu_seconds_to_first_step"]}


def _ours(order: Order, places: Places) -> dict[str, Any]:
    """Start the command line as a user does, without a plug-in, and wait for the first line of its log."""
    run, log = order.place / "run.yaml", order.place / "out" / "trainer_log.jsonl"
    keys = {**run_file(order), "torch_compile": False}
    del keys["plugins"]
    run.write_text(yaml.safe_dump(keys, sort_keys=False), encoding="utf-8")
    shutil.rmtree(order.place / "out", ignore_errors=True)
    with (order.place / "output.txt").open("w", encoding="utf-8") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "tunesmith", "train", str(run)],
            env=environment_of("tunesmith", places), stdout=output, stderr=output, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            _wait_for_line(process, log)
            seconds = time.perf_counter() - began
            cpu = _cpu_seconds(process.pid)
        finally:
            process.kill()  # its child ends with it
            process.wait()
    return {"seconds": seconds, "cpu_seconds": cpu}


def _wait_for_line(process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + _LIMIT_SECONDS
    while not (log.is_file() and log.stat().st_size):
        if process.poll() is not None or time.monotonic() > end:
            text = (log.parents[1] / "output.txt").read_text(encoding="utf-8", errors="replace")
            raise SystemExit(f"tunesmith ended without a step:\n{text[-3000:]}")
        time.sleep(_POLL_SECONDS)


def _cpu_seconds(pid: int) -> float:
    """Sum the CPU time of a process and of all that live below it."""
    root = psutil.Process(pid)
    family = [root, *root.children(recursive=True)]
    return sum(times.user + times.system for times in (member.cpu_times() for member in family))


def _quick(words: Sequence[str]) -> dict[str, Any]:
    """Time a command that needs no libraries."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [str(Path(sys.executable).with_name("tunesmith")), *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=dict(os.environ))
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "cpu_seconds": cpu}


def summary_lines(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Write medians of all counted rounds, and the ratio of ours to the best peer."""
    medians: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(cell.rpartition("-")[0] for cell in results):
        runs = [run for cell, run in results.items() if cell.rpartition("-")[0] == name and not cell.endswith("-0")]
        if runs:
            medians[name] = {key: statistics.median(run[key] for run in runs) for key in ("seconds", "cpu_seconds")}
    lines = [f"{name}: {value['seconds']:.2f} s, {value['cpu_seconds']:.2f} CPU-s" for name, value in medians.items()]
    peers = [value for name, value in medians.items() if name in PEERS]
    if peers and "tunesmith" in medians:
        # CPU seconds are not compared: those of the peers end where their first step begins.
        ratio = medians["tunesmith"]["seconds"] / min(peer["seconds"] for peer in peers)
        lines.append(f"tunesmith / best peer: {ratio:.2f}")
    return lines


if __name__ == "__main__":
    main()
