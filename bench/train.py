# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""How fast and how lean training is: the same rows, hyper-parameters and seed through each peer and us in turn.

    python bench/train.py [--environments bench/environments] [--settings sft_lora_4x2 …] [--systems tunesmith trl …]
                          [--rounds 3] [--steps 12] [--warmup 3] [--budget_minutes 60] [--summary_only]

Each cell (setting, system, round) is a process of its own; its result is bench/results/train/CELL.json, and a cell that
has one is not measured again. Only optimizer steps count: imports, loading, tokenising and the warm-up are outside, and
so is compiling, where it ends within the warm-up (compile_seconds tells what did not). Tokens are those of the rows,
without padding. The peers' environments come from bench/peers.sh; a peer without one is left out and said so. At the
end bench/results/train.json is written anew from all cells, and a table with ratios is printed.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from cells import RESULTS, Cell, CellFailed, run_cells
from training.launch import Places, train
from training.machine import describe_machine
from training.order import Order
from training.rows import write_sft_rows
from training.settings import SETTINGS, Setting, order_of, split_system
from training.summary import summarise, table
from training.words import bench_parser, places_of

HERE = Path(__file__).parent


def main() -> None:
    """Measure all cells that are not there yet, write the summary and print the table."""
    chosen = _parser().parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: chosen.threads])
    cells = [] if chosen.summary_only else _cells(chosen)
    run_cells(chosen.name, cells, budget_minutes=chosen.budget_minutes)
    summary = {"machine": describe_machine(), **summarise(_all_results(chosen.name))}
    (RESULTS / f"{chosen.name}.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(table(summary))


def _parser() -> argparse.ArgumentParser:
    names = [*(setting.name for setting in SETTINGS), "ceiling", "losses_bf16", "losses_fp32", "profile"]
    parser = bench_parser(__doc__, "train", names)
    parser.add_argument("--loss_steps", type=int, default=20)
    return parser


def _cells(chosen: argparse.Namespace) -> list[Cell]:
    """Put the systems of each setting in turn, round by round; then the cells of ours alone."""
    places = places_of(chosen)
    cells = []
    for setting in SETTINGS:
        systems = [system for system in setting.systems if _takes_part(system, setting, chosen, places)]
        for number in range(1, chosen.rounds + 1):
            for system in systems:
                measure = partial(_measure, setting, system, chosen, places)
                cells.append(Cell(name=f"{setting.name}-{system}-{number}", measure=measure))
    for name, measure_alone in _ours_alone(chosen, places).items():
        if name in chosen.settings:
            cells.append(Cell(name=name, measure=measure_alone))
    return cells


def _takes_part(system: str, setting: Setting, chosen: argparse.Namespace, places: Places) -> bool:
    if setting.name not in chosen.settings or (chosen.systems and system not in chosen.systems):
        return False
    own = split_system(system)[0]
    if not places.has(own):
        print(f"{system}: no environment in {places.environments} (bench/peers.sh makes it); left out")
    return places.has(own)


def _measure(setting: Setting, system: str, chosen: argparse.Namespace, places: Places) -> dict[str, Any]:
    order = order_of(setting, system, places.order(f"{setting.name}/{system}", chosen.warmup + chosen.steps))
    _prepare_order(order, system, places)
    return train(split_system(system)[0], order, places, warmup=chosen.warmup)


def _prepare_order(order: Order, system: str, places: Places) -> None:
    """Write the rows of all steps (packs are filled from all rows), and compile where ours is to."""
    write_sft_rows(order.place, None if order.packing else order.steps * order.batch * order.accumulation)
    if split_system(system) == ["tunesmith"]:
        order.keys["torch_compile"] = places.compiles  # by itself it is on in runs that are long enough to pay for it


def _ours_alone(chosen: argparse.Namespace, places: Places) -> dict[str, Callable[[], dict[str, Any]]]:
    """Give the cells beside the comparisons: the ceiling, losses beside a plain loop, the profile of a step."""
    return {
        "ceiling": lambda: _script("ceiling.py", places.order("ceiling", 1)),
        "losses_bf16": lambda: _losses(places.order("losses_bf16", chosen.loss_steps), places),
        "losses_fp32": lambda: _losses(places.order("losses_fp32", chosen.loss_steps, dtype="fp32"), places),
        "profile": lambda: _profiles(chosen, places),
    }


def _losses(order: Order, places: Places) -> dict[str, Any]:
    """Train the same rows from the same adapter by the plain loop and by us; give both courses of the loss."""
    write_sft_rows(order.place, order.steps * order.batch * order.accumulation)
    plain = _script("plain_loop.py", order)
    order.keys["adapter_name_or_path"] = str(order.place / "adapter")
    order.keys["torch_compile"] = places.compiles
    return {**plain, "ours": train("tunesmith", order, places, warmup=1)["losses"]}


def _profiles(chosen: argparse.Namespace, places: Places) -> dict[str, Any]:
    setting, found = SETTINGS[0], {}
    everyone = argparse.Namespace(settings=[setting.name], systems=None)
    for system in ("tunesmith", "tunesmith-eager", "llamafactory-no_checkpointing"):
        if _takes_part(system, setting, everyone, places):
            order = order_of(setting, system, places.order(f"profile/{system}", chosen.warmup + 2))
            _prepare_order(order, system, places)
            name = split_system(system)[0]
            found[system] = train(name, order, places, warmup=chosen.warmup, profiles=True)["profile"]
    return found


def _script(name: str, order: Order) -> dict[str, Any]:
    """Run a script of ours in a process of its own; its last line is its result."""
    command = [sys.executable, str(HERE / "training" / name), str(order.save())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CellFailed(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _all_results(bench: str) -> dict[str, dict[str, Any]]:
    files = sorted((RESULTS / bench).glob("*.json"))
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}


if __name__ == "__main__":
    main()
