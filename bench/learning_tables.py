# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/learning.md: what the runs of bench/learning.py, qlora.py and alignment.py reached."""

import json
import statistics
from collections.abc import Mapping
from typing import Any

from cells import RESULTS

Table = tuple[list[str], list[list[str]]]


def learning() -> Table:
    """One row a way to train: held-out loss and shares before and after."""
    rows = [
        [
            f"`{name}`",
            ", ".join(f"{key}: {value}" for key, value in cell["keys"].items()),
            f"{cell['trained_parameters']:,}",
            _course(cell, "loss"),
            _course(cell, "top1"),
            _course(cell, "exact_rows"),
            "yes" if cell["reaches"] else "no",
        ]
        for name, cell in _results("learning").items()
    ]
    return ["run", "keys", "trained", "held-out loss", "top-1", "rows all right", "reaches the target"], rows


def qlora() -> Table:
    """One row a base: speed, memory and the loss curve, medians of all rounds."""
    results, rows = _results("qlora"), []
    for base in ("bf16", "nf4"):
        runs = [cell for name, cell in results.items() if name.startswith(f"{base}-")]
        if runs:
            speed, peak = (
                statistics.median(run[key] for run in runs) for key in ("tokens_per_second", "peak_bytes_above_imports")
            )
            losses = runs[0]["losses"]
            rows.append(
                [
                    base,
                    f"{speed:.0f}",
                    f"{peak / 2**20:,.0f}",
                    f"{runs[0]['weights_bytes'] / 2**20:,.0f}",
                    f"{losses[0]:.3f}",
                    f"{statistics.mean(losses):.3f}",
                    f"{losses[-1]:.3f}",
                    str(len(runs)),
                ]
            )
    head = ["base", "tokens/s", "peak MiB above imports", "weights MiB", "first loss", "mean loss", "last loss", "runs"]
    return head, rows


def qlora_merge() -> Table:
    """What the verification of the merge into the dequantised weights found."""
    found = _results("qlora").get("merge", {})
    return ["merge of the adapter trained on 4 bits", ""], [[name, str(value)] for name, value in found.items()]


def alignment() -> Table:
    """One row a run: the share of held-out pairs in which the better answer is preferred."""
    rows = []
    for name, cell in _results("alignment").items():
        own = cell.get("held_out") or cell.get("implicit") or {}
        by_mean = cell.get("held_out_by_mean_logp") or cell.get("mean_logp") or {}
        rows.append(
            [f"`{name}`", _share(own), _share(by_mean), str(cell.get("train", {}).get("steps", "")), _seconds(cell)]
        )
    return ["run", "preferred", "preferred by mean log-prob", "steps", "seconds"], rows


def _results(bench: str) -> dict[str, Mapping[str, Any]]:
    files = sorted((RESULTS / bench).glob("*.json"))
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}


def _course(cell: Mapping[str, Any], key: str) -> str:
    return f"{cell['before'][key]:.2f} → {cell['after'][key]:.3f}"


def _share(metrics: Mapping[str, float]) -> str:
    found = [value for name, value in metrics.items() if name.endswith("rewards/accuracies")]
    return f"{found[0]:.1%}" if found else ""


def _seconds(cell: Mapping[str, Any]) -> str:
    return f"{cell['train_seconds']:.0f}" if "train_seconds" in cell else ""
