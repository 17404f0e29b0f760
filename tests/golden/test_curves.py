# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Twenty steps of every objective on a tiny random model in float32: loss and gradient norm as recorded,
to 1e-5, or 5e-5 of large ones.

The recorded curve of an objective must come out of every equivalent run: one batch of 8 or 8 of one, packed or padded.
To record after a change that should change numbers: `TUNESMITH_RECORD=1 pytest tests/golden`, and explain each file.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.unit.training.batches import make_feedback, make_pairs, make_store
from tests.unit.training.runs import TinyRun, tiny_model
from tunesmith.core.types import LayoutKind
from tunesmith.data.mismatched import MismatchedRows
from tunesmith.data.store import TokenStore, build_store
from tunesmith.objectives.base import objectives

CURVES = Path(__file__).parent / "curves"
STEPS = 20
# Rewards have gradients of norm 3 and more, whose rounding twenty steps carry on.
RELATIVE = 5e-5
LENGTHS = tuple(6 + (7 * number) % 23 for number in range(40))
# Equivalent runs: (rows of a micro-batch, micro-batches of a step, layout).
EQUIVALENT: dict[str, tuple[int, int, LayoutKind]] = {
    "8x1 packed": (8, 1, "packed"),
    "1x8 packed": (1, 8, "packed"),
    "8x1 padded": (8, 1, "padded"),
    "4x2 packed": (4, 2, "packed"),
}


def store_for(name: str) -> TokenStore:
    kind = objectives.get(name).row_kind
    if kind == "preference":
        return build_store(make_pairs(LENGTHS, seed=9))
    if kind == "feedback":
        made = MismatchedRows(build_store(make_feedback(LENGTHS, seed=9)))
        return build_store(made[number] for number in range(len(made)))
    return make_store(LENGTHS, seed=9, is_text=kind == "text")


def run_curve(name: str, rows: int, accumulation: int, layout: LayoutKind, folder: Path) -> list[dict[str, float]]:
    keys: dict[str, Any] = {
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": accumulation,
        "max_steps": STEPS,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 4,
        "weight_decay": 0.01,
    }
    model = tiny_model(head=objectives.get(name).head)
    made = TinyRun(folder=folder, keys=keys, stage=name, store=store_for(name), layout=layout, model=model)
    trainer = made.trainer()
    trainer.train()
    return [
        {"loss": entry["loss"], "grad_norm": entry["grad_norm"]}
        for entry in trainer.state.log_history
        if "loss" in entry
    ]


@pytest.mark.parametrize("way", EQUIVALENT)
@pytest.mark.parametrize("name", objectives.names())
def test_the_curve_is_the_recorded_one(name: str, way: str, tmp_path: Path) -> None:
    curve = run_curve(name, *EQUIVALENT[way], tmp_path)
    path = CURVES / f"{name}.json"
    if os.environ.get("TUNESMITH_RECORD") and way == next(iter(EQUIVALENT)):
        path.write_text(json.dumps(curve, indent=1) + "\n", encoding="utf-8")
    assert path.exists(), f"record the curve of {name}: TUNESMITH_RECORD=1 pytest tests/golden"
    recorded = json.loads(path.read_text(encoding="utf-8"))
    assert len(curve) == len(recorded) == STEPS
    for step, (found, expected) in enumerate(zip(curve, recorded, strict=True), 1):
        assert found == pytest.approx(expected, rel=RELATIVE, abs=1e-5), f"step {step}"
