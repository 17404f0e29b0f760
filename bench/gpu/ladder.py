# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The ladder: tokens a second, MFU and peak memory of a LoRA step, rung by rung, on random weights, on GPU or CPU.

    python bench/gpu/ladder.py [--shapes qwen3-0.6b llama3.1-8b …] [--rungs plain scorer …] [--rounds 3]
    python bench/gpu/ladder.py --shapes smollm2-135m --rows 4 --cutoff 1024 --name ladder       the ladder on a CPU
    python bench/gpu/ladder.py --smoke                              two layers, a few steps, on any machine

Needs no network and no data: configurations stand in shapes.py, weights and rows are random. Each rung runs in a
process of its own; results are bench/results/NAME/CELL.json (NAME: gpu), and a cell that has one is skipped. `trl` is
TRL's SFTTrainer on the same rows, where TRL is installed.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from cells import RESULTS, Cell, CellFailed, run_cells
from shapes import NAMES

HERE = Path(__file__).parent
RUNGS = (
    "plain",
    "plain_checkpointed",
    "trl",
    "forest",
    "scorer",
    "compile",
    "checkpointing",
    "fused_lora",
    "fused_lora_only",
)


def main() -> None:
    """Measure all cells that are not there yet and print the ladder of each shape."""
    chosen = _parser().parse_args()
    shapes = ["smoke"] if chosen.smoke else chosen.shapes
    sizes = {"rows": chosen.rows, "cutoff": chosen.cutoff, "steps": chosen.steps, "warmup": chosen.warmup}
    if chosen.smoke:
        sizes = {"rows": 4, "cutoff": 128, "steps": 2, "warmup": 1}
    if chosen.peak_tflops:
        sizes["peak_tflops"] = chosen.peak_tflops
    cells = [
        Cell(name=f"{shape}-{rung}-{number}", measure=partial(_measure, shape, rung, sizes))
        for shape in shapes
        for number in range(1, (1 if chosen.smoke else chosen.rounds) + 1)
        for rung in chosen.rungs
    ]
    bench = "gpu-smoke" if chosen.smoke else chosen.name
    results = run_cells(bench, cells, budget_minutes=chosen.budget_minutes)
    summary = summarise(results)
    (RESULTS / f"{bench}.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(table(summary))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--shapes", nargs="+", default=[name for name in NAMES if name not in ("smoke", "smollm2-135m")], choices=NAMES
    )
    parser.add_argument("--rungs", nargs="+", default=list(RUNGS), choices=RUNGS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--cutoff", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--peak_tflops", type=float, help="stated bfloat16 peak, where the device is not listed")
    parser.add_argument("--budget_minutes", type=float, default=120)
    parser.add_argument("--name", default="gpu", help="folder and file of the results")
    parser.add_argument("--smoke", action="store_true", help="try the scripts, measure nothing")
    return parser


def _measure(shape: str, rung: str, sizes: Mapping[str, float]) -> dict[str, Any]:
    words = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    script = ["trl_rung.py"] if rung == "trl" else ["rung.py", "--rung", rung]
    command = [sys.executable, str(HERE / script[0]), *script[1:], "--shape", shape, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CellFailed(done.stderr[-2000:])
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def summarise(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Give medians by shape and rung."""
    runs: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for result in results.values():
        runs.setdefault((result["shape"], result["rung"]), []).append(result)
    shapes: dict[str, dict[str, Any]] = {}
    for (shape, rung), found in runs.items():
        measures = ("tokens_per_second", "tokens_per_cpu_second", "peak_bytes")
        measured = {name: statistics.median(run[name] for run in found) for name in measures}
        used = [run["mfu"] for run in found if run["mfu"] is not None]
        kept = {name: found[0][name] for name in ("attention", "padding_share", "warmup_seconds", "last_loss")}
        mfu = statistics.median(used) if used else None
        shapes.setdefault(shape, {})[rung] = {**measured, "mfu": mfu, **kept, "runs": len(found)}
    devices = sorted({result["device"] for result in results.values()})
    return {"devices": devices, "shapes": shapes}


def table(summary: Mapping[str, Any]) -> str:
    """Lay the ladder out as text."""
    lines = [f"devices: {', '.join(summary['devices'])}"]
    for shape, rungs in summary["shapes"].items():
        lines.append(f"\n{shape}")
        for rung, values in rungs.items():
            mfu = f"{values['mfu']:7.1%}" if values["mfu"] is not None else "      -"
            lines.append(
                f"  {rung:20s}{values['tokens_per_second']:10,.0f} tokens/s  MFU {mfu}"
                f"{values['peak_bytes'] / 2**30:9.2f} GiB  loss {values['last_loss']:.4f}  {values['attention']}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
