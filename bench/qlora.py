# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""LoRA on a base in 4 bits (NF4) beside LoRA on a base in bfloat16: speed, memory, loss curve, verified merge.

    python bench/qlora.py [--steps 30] [--rounds 3] [--model smollm2-135m] [--budget_minutes 30]

Both train the same rows in the same order from the same adapter, each in a process of its own, in turn. Memory is the
largest resident set of that process, less what it held before the model was loaded. The merge is that of `tunesmith
export`, which refuses one that does not verify.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from cells import RESULTS, Cell, run_cells

from tunesmith.config.load import load_config
from tunesmith.core.optional import import_by_name

HERE = Path(__file__).parent
SYSTEMS: dict[str, dict[str, Any]] = {"bf16": {}, "nf4": {"quantization_bit": 4}}


def main() -> None:
    """Measure all cells that are not there yet and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--budget_minutes", type=float, default=30)
    parser.add_argument("--results", default="qlora", help="Folder of the results below bench/results.")
    parser.add_argument("--inside", choices=[*SYSTEMS, "merge"], help="Do one measurement in this process.")
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args()
    if chosen.inside == "merge":
        print(json.dumps(_merge(chosen)))
    elif chosen.inside:
        print(json.dumps(_train(chosen)))
    else:
        results = run_cells(chosen.results, _cells(chosen), budget_minutes=chosen.budget_minutes)
        _print_comparison(results)


def _cells(chosen: argparse.Namespace) -> list[Cell]:
    turns = [(system, number) for number in range(1, chosen.rounds + 1) for system in SYSTEMS]
    cells = [Cell(name=f"{system}-{number}", measure=partial(_child, chosen, system)) for system, number in turns]
    return [*cells, Cell(name="merge", measure=partial(_child, chosen, "merge"))]


def _child(chosen: argparse.Namespace, what: str) -> dict[str, Any]:
    """Measure in a process of its own; its last line is its result."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--inside", what, "--folder", folder, "--steps", str(chosen.steps)]
        done = subprocess.run([*command, "--model", chosen.model], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{what} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _keys(chosen: argparse.Namespace, system: str) -> dict[str, Any]:
    return {
        "model_name_or_path": chosen.model,
        "dataset_dir": str(HERE.parent / "data"),
        "dataset": "orders_train",
        "finetuning_type": "lora",
        "lora_rank": 8,
        "bf16": True,
        "max_steps": chosen.steps,
        "per_device_train_batch_size": 8,
        "learning_rate": 2e-4,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "save_strategy": "no",
        "output_dir": str(chosen.folder / system),
        **SYSTEMS[system],
    }


def _train(chosen: argparse.Namespace) -> dict[str, Any]:
    """Train in this process, with everything imported before memory is looked at."""
    config, train = _job(_keys(chosen, chosen.inside), "train")
    before = psutil.Process().memory_info().rss
    result = train.run(config)
    lines = (chosen.folder / chosen.inside / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [json.loads(line) for line in lines if "loss" in json.loads(line)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "losses": [step["loss"] for step in steps],
        "tokens_per_second": result["tokens"] / result["seconds"],
        "seconds": result["seconds"],
        "tokens": result["tokens"],
        "peak_bytes_above_imports": peak - before,
        "peak_bytes": peak,
        "weights_bytes": result["forecast"]["bytes_in_memory"],
    }


def _merge(chosen: argparse.Namespace) -> dict[str, Any]:
    """Train on 4 bits, export, and give what the verification found."""
    config, train = _job(_keys(chosen, "nf4"), "train")
    train.run(config)
    keys = {"model_name_or_path": chosen.model, "adapter_name_or_path": str(chosen.folder / "nf4")}
    start = time.monotonic()
    config, export = _job({**keys, "export_dir": str(chosen.folder / "merged")}, "export")
    result: dict[str, Any] = export.run(config)
    shown = ("base_quantization", "merged_into", "dtype", "merge_probe_tokens")
    return {
        **{name: value for name, value in result.items() if name in shown or isinstance(value, float)},
        "seconds": time.monotonic() - start,
    }


def _job(keys: dict[str, Any], command: Any) -> tuple[Any, Any]:
    return load_config(keys, command=command), import_by_name(f"tunesmith.jobs.{command}")


def _print_comparison(results: dict[str, dict[str, Any]]) -> None:
    found = {system: [results[name] for name in results if name.startswith(f"{system}-")] for system in SYSTEMS}
    if not all(found.values()):
        return
    for system, runs in found.items():
        speed = statistics.median(run["tokens_per_second"] for run in runs)
        peak = statistics.median(run["peak_bytes_above_imports"] for run in runs)
        print(f"{system}: {speed:,.0f} tokens/s, peak {peak / 1e6:,.0f} MB, weights {runs[0]['weights_bytes']:,} B")
    pairs = list(zip(found["bf16"][0]["losses"], found["nf4"][0]["losses"], strict=True))
    apart = [abs(quantised - plain) / plain for plain, quantised in pairs]
    mean = abs(sum(pair[1] for pair in pairs) / sum(pair[0] for pair in pairs) - 1)
    print(f"loss curves: {mean:.2%} apart in the mean, {max(apart):.2%} at most, {apart[-1]:.2%} at the last step")
    print(f"results are in {RESULTS}")


if __name__ == "__main__":
    main()
