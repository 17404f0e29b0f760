# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the tables of docs/performance.md and docs/learning.md anew from bench/results, each between its two marks.

python bench/tables.py [--check]              --check: fail where a page is not what the results say
"""

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cells import RESULTS
from learning_tables import alignment, learning, qlora, qlora_merge

PAGES = tuple(Path(__file__).parents[1] / "docs" / name for name in ("performance.md", "learning.md"))
_MARKS = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Rewrite the pages, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    is_check = parser.parse_args().check
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        written = write_tables(text)
        if is_check and written != text:
            sys.exit(f"{page.name} is not what bench/results says: run python bench/tables.py")
        page.write_text(written, encoding="utf-8", newline="\n")


def write_tables(text: str) -> str:
    """Replace what stands between the marks of each table."""
    return _MARKS.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}\n{found[3]}", text)


def _read(name: str) -> Any:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]], missing: str) -> str:
    """Lay out a table, or say how to measure it."""
    if not rows:
        return f"No figures yet: `{missing}`."
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _machine() -> str:
    machine = _read("train").get("machine") or _read("dpo").get("machine")
    if not machine:
        return "No figures yet."
    flags = ", ".join(machine["flags"])
    used = machine.get("cores_used", machine["cores"])
    return (
        f"{used} of {machine['cores']} cores of {machine['cpu']} ({flags}), {machine['memory_bytes'] / 2**30:.0f} GiB, "
        f"Python {machine['python']}, torch {machine['torch']}, transformers {machine['transformers']}."
    )


def _settings(name: str, command: str) -> str:
    rows = []
    for setting in _read(name).get("settings", []):
        for system, values in setting["systems"].items():
            share = f"{values['share_of_ceiling']:.0%}" if "share_of_ceiling" in values else ""
            rows.append(
                [
                    f"`{setting['name']}` {system}",
                    f"{values['tokens_per_cpu_second']:.0f}",
                    f"{values['spread']:.0%}",
                    f"{values['tokens_per_second']:.0f}",
                    share,
                    f"{values['peak_rss_bytes'] / 2**30:.2f}",
                    str(values["runs"]),
                ]
            )
    head = ["", "tokens/CPU-s", "spread", "tokens/s", "of the ceiling", "peak GiB", "runs"]
    return _rows(head, rows, command)


def _ratios() -> str:
    rows = [
        [
            f"`{setting['name']}`",
            f"{setting['speed_ratio']:.2f}",
            " to ".join(f"{value:.2f}" for value in setting["speed_ratio_range"]),
            setting["fastest_peer"],
            f"{setting['rss_ratio']:.2f}",
            setting["leanest_peer"],
            f"{setting['speed_ratio_to_default']:.2f}" if "fastest_default" in setting else "",
            f"{setting['rss_ratio_to_default']:.2f}" if "fastest_default" in setting else "",
            setting.get("fastest_default", ""),
        ]
        for name in ("train", "dpo")
        for setting in _read(name).get("settings", [])
        if "speed_ratio" in setting
    ]
    head = ["setting", "speed of ours", "least to most", "to", "memory of ours", "to"]
    head += ["speed", "memory", "to the fastest as it comes"]
    return _rows(head, rows, "python bench/train.py && python bench/dpo.py")


def _passes() -> str:
    rates = _read("dpo").get("three_passes", {}).get("tokens_per_cpu_second", {})
    return _rows(
        ["three passes", "tokens/CPU-s"], [[name, f"{rate:.0f}"] for name, rate in rates.items()], "python bench/dpo.py"
    )


def _losses() -> str:
    rows = []
    for name in ("losses_fp32", "losses_bf16"):
        found = _read("train").get(name)
        if found:
            itself = f"{found['plain_to_itself']:.1e}" if "plain_to_itself" in found else ""
            rows.append([name.removeprefix("losses_"), str(found["steps"]), f"{found['ours_to_plain']:.1e}", itself])
    head = ["format", "steps", "ours to the plain loop", "the loop to itself, row by row"]
    return _rows(head, rows, "python bench/train.py --settings losses_bf16 losses_fp32")


def _profile() -> str:
    rows = [
        [kind, *(f"{shares.get(kind, 0.0):.0%}" for shares in columns)]
        for columns in [[found["shares"] for found in _read("train").get("profile", {}).values()]]
        for kind in dict.fromkeys(kind for shares in columns for kind in shares)
    ]
    head = ["share of the step", *_read("train").get("profile", {})]
    return _rows(head, rows, "python bench/train.py --settings profile")


def _ladder(name: str, command: str) -> str:
    found = _read(name)
    rows = [
        [
            f"{shape} {rung}",
            f"{values['tokens_per_second']:,.0f}",
            f"{values['tokens_per_cpu_second']:,.0f}",
            "" if values["mfu"] is None else f"{values['mfu']:.1%}",
            f"{values['peak_bytes'] / 2**30:.2f}",
        ]
        for shape, rungs in found.get("shapes", {}).items()
        for rung, values in rungs.items()
    ]
    head = [f"on {', '.join(found.get('devices', []))}", "tokens/s", "tokens/CPU-s", "MFU", "peak GiB"]
    return _rows(head, rows, command)


def _cells(bench: str, columns: Mapping[str, tuple[str, Callable[[Any], str]]], *, is_numbered: bool = True) -> str:
    """Lay out the medians of the cells of a bench: column → key of the result, and how it is written."""
    runs: dict[str, list[Mapping[str, Any]]] = {}
    for file in sorted((RESULTS / bench).glob("*.json")):
        name, _, number = file.stem.rpartition("-")
        if is_numbered and number == "0":  # the round that filled the caches
            continue
        runs.setdefault(name if is_numbered else file.stem, []).append(json.loads(file.read_text(encoding="utf-8")))
    rows = [
        [name, *(write(statistics.median(run[key] for run in found)) for key, write in columns.values())]
        for name, found in runs.items()
    ]
    return _rows(["", *columns], rows, f"python bench/{bench}.py")


def _seconds(value: float) -> str:
    return f"{value:.2f}"


def _megabytes(value: float) -> str:
    return f"{value / 2**20:,.0f}"


TABLES: Mapping[str, Callable[[], str]] = {
    "machine": _machine,
    "ratios": _ratios,
    "train": lambda: _settings("train", "python bench/train.py"),
    "dpo": lambda: _settings("dpo", "python bench/dpo.py"),
    "passes": _passes,
    "losses": _losses,
    "profile": _profile,
    "ladder": lambda: _ladder(
        "ladder", "python bench/gpu/ladder.py --shapes smollm2-135m --rows 4 --cutoff 1024 --name ladder"
    ),
    "gpu": lambda: _ladder("gpu", "python bench/gpu/ladder.py"),
    "startup": lambda: _cells("startup", {"seconds": ("seconds", _seconds), "CPU-s": ("cpu_seconds", _seconds)}),
    "busy": lambda: _cells("busy_core", {"seconds": ("seconds", _seconds), "CPU-s": ("cpu_seconds", _seconds)}),
    "learning": lambda: _rows(*learning(), "python bench/learning.py"),
    "qlora": lambda: _rows(*qlora(), "python bench/qlora.py"),
    "qlora_merge": lambda: _rows(*qlora_merge(), "python bench/qlora.py"),
    "alignment": lambda: _rows(*alignment(), "python bench/alignment.py"),
    "scorer": lambda: _cells("scorer", {"peak MiB": ("peak_bytes", _megabytes)}, is_numbered=False),
}


if __name__ == "__main__":
    main()
