# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""How fast and how lean DPO with LoRA is: the same pairs through each peer and us in turn.

    python bench/dpo.py [--environments bench/environments] [--settings dpo_lora dpo_lora_cached]
                        [--systems tunesmith trl …] [--rounds 3] [--steps 20] [--budget_minutes 120] [--summary_only]

Cells are those of bench/train.py: one process each, skipped where bench/results/dpo/CELL.json is there. Pairs are cut
to 512 tokens a side. Tokens are those of both sides, the prompt counted twice for every system, as in padded pairs.
In dpo_lora_cached the reference's log-probs are computed once, before training. `three_passes` in
bench/results/dpo.json is the rate over three passes through the pairs, that making counted once: its CPU seconds are
those up to the first step beyond those of the same system without it.
"""

import argparse
import json
import os
import shutil
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from cells import RESULTS, Cell, run_cells
from training.launch import Places, train, with_rates
from training.machine import describe_machine
from training.rows import write_pairs
from training.settings import DPO_SETTINGS, Setting, order_of, split_system
from training.summary import Run, runs_by_setting, summarise_setting, table
from training.words import bench_parser, places_of

CUTOFF = 512
PASSES = 3


def main() -> None:
    """Measure all cells that are not there yet, write the summary and print the table."""
    chosen = _parser().parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: chosen.threads])
    run_cells(chosen.name, [] if chosen.summary_only else _cells(chosen), budget_minutes=chosen.budget_minutes)
    files = sorted((RESULTS / chosen.name).glob("*.json"))
    results = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}
    summary = {"machine": describe_machine(), **summarise_dpo(results)}
    (RESULTS / f"{chosen.name}.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(table(summary))
    print(f"\nthree passes: {summary['three_passes']}")


def _parser() -> argparse.ArgumentParser:
    parser = bench_parser(__doc__, "dpo", [setting.name for setting in DPO_SETTINGS])
    parser.set_defaults(steps=20, warmup=2, budget_minutes=120)
    return parser


def _cells(chosen: argparse.Namespace) -> list[Cell]:
    """Put the systems of each setting in turn, round by round."""
    places = places_of(chosen)
    cells = []
    for setting in (setting for setting in DPO_SETTINGS if setting.name in chosen.settings):
        systems = [system for system in setting.systems if not chosen.systems or system in chosen.systems]
        for system in [system for system in systems if not places.has(split_system(system)[0])]:
            print(f"{system}: no environment in {places.environments} (bench/peers.sh makes it); left out")
            systems.remove(system)
        for number in range(1, chosen.rounds + 1):
            for system in systems:
                measure = partial(_measure, setting, system, chosen, places)
                cells.append(Cell(name=f"{setting.name}-{system}-{number}", measure=measure))
    return cells


def _measure(setting: Setting, system: str, chosen: argparse.Namespace, places: Places) -> dict[str, Any]:
    total = chosen.warmup + chosen.steps
    base = places.order(f"{setting.name}/{system}", total, stage="dpo", cutoff=CUTOFF)
    order = order_of(setting, system, base)
    rows = order.batch * order.accumulation
    lengths = write_pairs(order.place, places.model, count=total * rows, cutoff=CUTOFF)
    own, *variants = split_system(system)
    if own == "tunesmith" and "eager" not in variants:
        order.keys["torch_compile"] = places.compiles  # by itself it is on in runs that are long enough to pay for it
    for folder in places.caches(own).rglob("reference"):
        shutil.rmtree(folder)  # the reference is scored anew in every cell
    result = train(own, order, places, warmup=chosen.warmup)
    # Ours holds a prompt once for both answers; the peers' own counts show that they trained the same pairs.
    tokens = sum(lengths[chosen.warmup * rows :]) if own == "tunesmith" else result["tokens"]
    return with_rates({**result, "tokens": tokens, "tokens_of_all_steps": sum(lengths)})


def summarise_dpo(results: Mapping[str, Run]) -> dict[str, Any]:
    """Summarise the settings, and the rate over three passes with a reference that is scored once."""
    settings = runs_by_setting(results, DPO_SETTINGS)
    found = [summarise_setting(name, systems) for name, systems in settings.items() if name == "dpo_lora"]
    plain = settings.get("dpo_lora", {})
    rates = {system: statistics.median(run["tokens_per_cpu_second"] for run in runs) for system, runs in plain.items()}
    for system, runs in settings.get("dpo_lora_cached", {}).items():
        own = system.removesuffix("-cached")
        if own in plain:
            rates[system] = rate_over_passes(runs, plain[own])
    peers = [rate for system, rate in rates.items() if split_system(system)[0] != "tunesmith"]
    ours = rates.get("tunesmith-cached")
    ratio = {"speed_ratio": ours / max(peers)} if peers and ours is not None else {}
    return {"settings": found, "three_passes": {"tokens_per_cpu_second": rates, **ratio}}


def rate_over_passes(cached: Sequence[Run], plain: Sequence[Run]) -> float:
    """Give the tokens per CPU second of all passes, the making of the reference counted once."""

    def start(runs: Sequence[Run]) -> float:
        return statistics.median(run["cpu_seconds_to_first_step"] for run in runs)

    rate = statistics.median(run["tokens_per_cpu_second"] for run in cached)
    making = max(0.0, start(cached) - start(plain))
    tokens = cached[0]["tokens_of_all_steps"]
    return float(PASSES * tokens / (PASSES * tokens / rate + making))


if __name__ == "__main__":
    main()
