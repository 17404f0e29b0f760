# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Loss curves are PNG files with LLaMA-Factory's names."""

from pathlib import Path

import pytest

from tunesmith.training.plots import plot_curves, smooth


def test_curves_of_what_was_logged(tmp_path: Path) -> None:
    history = [{"loss": 3.0 / step, "step": step} for step in range(1, 9)]
    history += [{"eval_loss": 1.0, "step": 4}, {"eval_loss": 0.9, "step": 8}, {"eval_accuracy": 0.5, "step": 8}]
    paths = plot_curves(history, ["loss", "eval_loss", "eval_accuracy", "absent"], tmp_path)
    assert [path.name for path in paths] == [
        "training_loss.png",
        "training_eval_loss.png",
        "training_eval_accuracy.png",
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_smoothing_follows_the_values() -> None:
    assert smooth([2.0, 2.0, 2.0]) == pytest.approx([2.0, 2.0, 2.0])
    smoothed = smooth([float(value) for value in range(100)])
    assert smoothed == sorted(smoothed) and 0 < smoothed[50] < 50
    assert smooth([]) == []
