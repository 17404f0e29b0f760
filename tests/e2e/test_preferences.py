# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Training on preferences from the bundled rows, on a tiny model: every tuner, losses that differ, resumes."""

import json
import math
from pathlib import Path

import pytest

from tests.conftest import DatasetWriter
from tests.e2e.pair_runs import Keys, pair_keys, run


@pytest.fixture
def keys(tiny_llama_folder: Path, repository: Path, tmp_path: Path) -> Keys:
    """Give the keys of a sound run of 6 steps on pairs."""
    return pair_keys("dpo", model=tiny_llama_folder, repository=repository, output=tmp_path / "run")


def log_of(folder: Path) -> list[Keys]:
    lines = (folder / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry for entry in map(json.loads, lines) if "loss" in entry]


@pytest.mark.slow
@pytest.mark.parametrize("tuner", ["lora", "full", "freeze"])
def test_every_tuner_starts_at_ln_2_and_learns(tuner: str, keys: Keys, tmp_path: Path) -> None:
    result = run(keys, finetuning_type=tuner, num_train_epochs=4, val_size=0.2, eval_strategy="epoch")
    losses = [entry["loss"] for entry in log_of(tmp_path / "run")]
    assert losses[0] == pytest.approx(math.log(2), abs=1e-3)
    assert losses[-1] < 0.6
    assert result["eval"]["eval_rewards/accuracies"] > 0.5 and result["eval"]["eval_rules/longer_wins"] >= 0


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["bco", "aot", "orpo"])
def test_a_resumed_run_goes_on_as_if_nothing_had_happened(loss: str, keys: Keys, tmp_path: Path) -> None:
    changes: Keys = {"pref_loss": loss, "gradient_accumulation_steps": 2, "per_device_train_batch_size": 2}
    run(keys, **changes)
    whole = (tmp_path / "run" / "adapter_model.safetensors").read_bytes()
    checkpoint = tmp_path / "run" / "checkpoint-3"
    run(keys, **changes, resume_from_checkpoint=str(checkpoint))
    assert (tmp_path / "run" / "adapter_model.safetensors").read_bytes() == whole


@pytest.mark.slow
def test_losses_differ_from_sigmoid_in_a_run(keys: Keys, tmp_path: Path) -> None:
    curves, adapters = {}, {}
    for loss in ("sigmoid", "hinge", "ipo", "kto_pair"):
        run(keys, pref_loss=loss, output_dir=str(tmp_path / loss))
        curves[loss] = [entry["loss"] for entry in log_of(tmp_path / loss)]
        adapters[loss] = (tmp_path / loss / "adapter_model.safetensors").read_bytes()
    assert len(set(adapters.values())) == len(adapters)  # the same start, rows and steps, but other gradients
    starts = {name: curve[0] for name, curve in curves.items()}
    assert starts == pytest.approx({"sigmoid": math.log(2), "hinge": 1.0, "ipo": 25.0, "kto_pair": 0.5}, abs=1e-3)


@pytest.mark.slow
def test_feedback_starts_without_divergence_and_goes_on(
    keys: Keys, dataset_writer: DatasetWriter, tmp_path: Path
) -> None:
    rows = [
        {"prompt": f"Is {n} even?", "completion": "Yes." if n % 4 < 2 else "No, it is odd.", "label": n % 4 in (0, 3)}
        for n in range(24)
    ]
    columns = {"prompt": "prompt", "response": "completion", "kto_tag": "label"}
    folder = dataset_writer.write("feedback", rows, columns=columns).parent
    changes: Keys = {"stage": "kto", "dataset": "feedback", "dataset_dir": str(folder), "max_samples": 24}
    run(keys, **changes, num_train_epochs=4, val_size=0.25, eval_strategy="epoch")
    log = log_of(tmp_path / "run")
    assert log[0]["loss"] == pytest.approx(0.5, abs=1e-3) and log[0]["kl"] == pytest.approx(0, abs=1e-3)
    assert log[-1]["loss"] < log[0]["loss"]


@pytest.mark.slow
def test_a_model_can_be_evaluated_on_pairs_without_training(keys: Keys, tmp_path: Path) -> None:
    result = run(keys, do_train=False, do_eval=True, dataset=None, eval_dataset="preference", finetuning_type="lora")
    assert result["eval"]["eval_loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert result["eval"]["eval_rewards/accuracies"] == 0.5
