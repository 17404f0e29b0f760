# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""How fast data is prepared: beside the peers, from the cache, in flat memory, and when a stream resumes.

    python bench/prepare.py [--environments bench/environments] [--rows 20000] [--rounds 3] [--long_rows 2000000]

The peers' environments come from bench/peers.sh; a peer without one is left out and said so. Every system gets the same
rows, the same tokenizer, two processes and a cold cache; they run in turn. Seconds count from the call that prepares to
the tokenised rows, imports aside.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from cells import Cell, run_cells
from preparation.rows import write_long_file, write_model, write_rows

HERE = Path(__file__).parent
PEERS = {"llamafactory": "llamafactory_rate.py", "ms-swift": "swift_rate.py", "trl": "trl_rate.py"}


def main() -> None:
    """Measure all cells that are not there yet and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", type=Path, default=HERE / "environments")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--long_rows", type=int, default=2_000_000)
    parser.add_argument("--budget_minutes", type=float, default=60)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder, chosen.rows)
        write_model(folder / "model")
        results = run_cells("prepare", _cells(chosen, folder), budget_minutes=chosen.budget_minutes)
    _print_ratios(results)


def _cells(chosen: argparse.Namespace, folder: Path) -> list[Cell]:
    """Put the systems in turn, round by round, then what only concerns ours."""
    systems = ["tunesmith", *(peer for peer in PEERS if (chosen.environments / peer / "done").is_file())]
    for peer in PEERS:
        if peer not in systems:
            print(f"{peer}: no environment in {chosen.environments} (bench/peers.sh makes it); left out")
    cells = []
    for number in range(1, chosen.rounds + 1):
        for system in systems:
            measure = partial(_rate, system, chosen.environments, folder)
            cells.append(Cell(name=f"rate-{system}-{number}", measure=measure))
    cells.append(Cell(name="cached-start", measure=partial(_ours, "cached", folder)))
    for rows in (20_000, chosen.long_rows):
        cells.append(Cell(name=f"memory-{rows}", measure=partial(_long, "memory", folder, rows)))
    cells.append(Cell(name="stream-resume", measure=partial(_long, "stream", folder, chosen.long_rows)))
    return cells


def _rate(system: str, environments: Path, folder: Path) -> dict[str, Any]:
    if system == "tunesmith":
        return _ours("rate", folder)
    python = environments / system / "bin" / "python"
    with tempfile.TemporaryDirectory() as cache:
        result = _run([str(python), str(HERE / "preparation" / PEERS[system]), str(folder)], cache)
    return _with_rate(result)


def _ours(what: str, folder: Path, *words: str) -> dict[str, Any]:
    script = HERE / "preparation" / "tunesmith_rate.py"
    with tempfile.TemporaryDirectory() as cache:
        return _with_rate(_run([sys.executable, str(script), what, str(folder), *words], cache))


def _long(what: str, folder: Path, rows: int) -> dict[str, Any]:
    file = folder / f"long-{rows}.jsonl"
    if not file.is_file():
        write_long_file(file, rows)
    return _ours(what, folder, str(file))


def _run(command: list[str], cache: str) -> dict[str, Any]:
    """Run a script with caches of its own; its last line is its result."""
    caches = ("HF_HOME", "MODELSCOPE_CACHE", "XDG_CACHE_HOME", "TUNESMITH_CACHE")
    own = {**dict.fromkeys(caches, cache), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _with_rate(result: dict[str, Any]) -> dict[str, Any]:
    return {**result, "rows_per_second": result["rows"] / result["seconds"]}


def _print_ratios(results: dict[str, dict[str, Any]]) -> None:
    rates: dict[str, list[float]] = {}
    for name, result in results.items():
        if name.startswith("rate-"):
            rates.setdefault(name.removeprefix("rate-").rpartition("-")[0], []).append(result["rows_per_second"])
    medians = {system: statistics.median(found) for system, found in rates.items()}
    for system, rate in medians.items():
        print(f"{system}: {rate:,.0f} rows/s (median of {len(rates[system])})")
    peers = [rate for system, rate in medians.items() if system != "tunesmith"]
    if peers and "tunesmith" in medians:
        print(f"tunesmith is {medians['tunesmith'] / max(peers):.1f} times as fast as the best peer")


if __name__ == "__main__":
    main()
