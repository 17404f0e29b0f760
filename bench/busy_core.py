# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What a busy core costs: steps of the 135M model on a quiet machine and beside a process that keeps one core busy.

    python bench/busy_core.py [--rounds 3] [--steps 10] [--policies chosen spinning …] [--budget_minutes 40] [--fresh]

`chosen` is what `tunesmith train` decides by itself; the others force a way of waiting, so that the choice can be
judged: spinning is OpenMP's default, passive sleeps at once, spin_… spins so often and then sleeps, one_thread has
nobody to wait for. Quiet and busy, and the policies, run in turn. The machine must be quiet otherwise.
"""

import argparse
import os
import shutil
import statistics
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from cells import Cell, run_cells
from training.launch import Places, busy_core, train
from training.rows import write_sft_rows

from tunesmith.models.embedded import embedded_folder

HERE = Path(__file__).parent
_WARMUP = 2
POLICIES: Mapping[str, Mapping[str, str]] = {
    "chosen": {},
    "spinning": {"GOMP_SPINCOUNT": "300000"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "spin_100": {"GOMP_SPINCOUNT": "100"},
    "spin_1000": {"GOMP_SPINCOUNT": "1000"},
    "spin_10000": {"GOMP_SPINCOUNT": "10000"},
    "one_thread": {"OMP_NUM_THREADS": "1"},
}


def main() -> None:
    """Measure all cells that are not there yet and print what a busy core costs under each policy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=HERE / "environments" / "work")
    parser.add_argument("--policies", nargs="+", default=list(POLICIES), choices=list(POLICIES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--budget_minutes", type=float, default=40)
    parser.add_argument("--name", default="busy_core", help="folder of the results")
    parser.add_argument("--fresh", action="store_true", help="measure again what has a result")
    chosen = parser.parse_args()
    if chosen.fresh:
        shutil.rmtree(HERE / "results" / chosen.name, ignore_errors=True)
    places = Places(
        environments=HERE / "environments",
        work=chosen.work.absolute(),
        model=embedded_folder("smollm2-135m"),
        keeps_threading=True,
    )
    cells = [
        Cell(
            name=f"{policy}-{state}-{number}", measure=partial(_measure, policy, state == "busy", chosen.steps, places)
        )
        for number in range(1, chosen.rounds + 1)
        for policy in chosen.policies
        for state in ("quiet", "busy")
    ]
    results = run_cells(chosen.name, cells, budget_minutes=chosen.budget_minutes)
    for line in summary_lines(results):
        print(line)


def _measure(policy: str, is_busy: bool, steps: int, places: Places) -> dict[str, Any]:
    order = places.order("busy_core", _WARMUP + steps, batch=4, accumulation=1)
    order.keys["torch_compile"] = False
    write_sft_rows(order.place, order.steps * order.batch)
    with threading_set(POLICIES[policy]), busy_core(is_wanted=is_busy):
        found = train("tunesmith", order, places, warmup=_WARMUP)
    names = ("seconds", "cpu_seconds", "tokens", "steps", "threads", "wait_policy", "step_seconds")
    return {name: found[name] for name in names}


@contextmanager
def threading_set(variables: Mapping[str, str]) -> Iterator[None]:
    """Set some variables, and no others that decide about threads."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("OMP_", "GOMP_", "KMP_", "MKL_")):
            del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def summary_lines(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Write the tokens a second of each policy, quiet and busy, and how many times as long a step takes when busy."""
    rates: dict[str, dict[str, list[float]]] = {}
    for cell, run in results.items():
        policy, state, _ = cell.rsplit("-", 2)
        rates.setdefault(policy, {}).setdefault(state, []).append(run["tokens"] / run["seconds"])
    lines, best = [], 0.0
    for policy, states in rates.items():
        quiet, busy = (statistics.median(states.get(state, [float("nan")])) for state in ("quiet", "busy"))
        best = max(best, quiet)
        lines.append(f"{policy}: {quiet:.0f} tokens/s quiet, {busy:.0f} busy, {quiet / busy:.2f} times as long")
    chosen = rates.get("chosen", {})
    if {"quiet", "busy"} <= set(chosen):
        cost = best / statistics.median(chosen["busy"])
        lines.append(f"chosen beside a busy core, against the best policy of a quiet machine: {cost:.2f} times as long")
    return lines


if __name__ == "__main__":
    main()
