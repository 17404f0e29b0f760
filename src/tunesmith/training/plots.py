# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Curves of logged values as PNG files: the values and a smoothed line, as LLaMA-Factory draws them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunesmith.core.optional import import_optional

# Fewer points are marked, because one alone makes no line.
_FEW = 10


def plot_curves(history: Sequence[Mapping[str, Any]], names: Iterable[str], folder: Path) -> list[Path]:
    """Draw `training_<name>.png` for each value that was logged."""
    paths = []
    for name in names:
        points = [(entry["step"], entry[name]) for entry in history if name in entry and "step" in entry]
        if points:
            path = folder / f"training_{name.replace('/', '_')}.png"
            draw_curve(name, points, path)
            paths.append(path)
    return paths


def draw_curve(name: str, points: Sequence[tuple[int, float]], path: Path) -> None:
    """Draw one value over the steps; no display and no global state of matplotlib is used."""
    figure = import_optional("matplotlib.figure", extra="dev", needed_for="plot_loss").Figure(figsize=(7, 4.5))
    axes = figure.subplots()
    steps, values = [step for step, _ in points], [value for _, value in points]
    axes.plot(steps, values, color="#1f77b4", alpha=0.4, label="original", marker="o" if len(points) < _FEW else None)
    axes.plot(steps, smooth(values), color="#1f77b4", label="smoothed")
    axes.set_title(f"{name} of {path.parent.absolute().name}")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("step")
    axes.set_ylabel(name)
    axes.legend()
    figure.savefig(path, format="png", dpi=100, metadata={"Software": None})


def smooth(values: Sequence[float]) -> list[float]:
    """Average exponentially, the more values the more strongly (weight by a sigmoid of their number)."""
    weight = 1.8 * (1 / (1 + math.exp(-0.05 * len(values))) - 0.5)
    smoothed: list[float] = []
    last = values[0] if values else 0.0
    for value in values:
        last = last * weight + (1 - weight) * value
        smoothed.append(last)
    return smoothed
