# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The training job from configuration to results, on a tiny model: stages, tuners, evaluation, resume, refusals."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tests.conftest import DatasetWriter
from tunesmith.config.load import load_config
from tunesmith.core.errors import TunesmithError
from tunesmith.core.report import collected_warnings
from tunesmith.jobs import train
from tunesmith.jobs.assembly import build_trainer
from tunesmith.training.checkpoints import find_fault, list_checkpoints
from tunesmith.training.lock import LOCK_FILE

Keys = dict[str, Any]


@pytest.fixture
def keys(tiny_llama_folder: Path, tiny_dataset: Path, tmp_path: Path) -> Keys:
    """Give the keys of a sound run of 6 steps on 24 rows, in float32 on the CPU."""
    return {
        "model_name_or_path": str(tiny_llama_folder),
        "dataset": "tiny",
        "dataset_dir": str(tiny_dataset),
        "output_dir": str(tmp_path / "run"),
        "finetuning_type": "lora",
        "use_cpu": True,
        "per_device_train_batch_size": 4,
        "num_train_epochs": 1,
        "learning_rate": 4e-4,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "save_steps": 2,
    }


def run(keys: Keys, **changes: Any) -> Keys:
    """Run the job and give its result, which must be plain JSON."""
    merged = {name: value for name, value in {**keys, **changes}.items() if value is not None}
    result: Keys = json.loads(json.dumps(train.run(load_config(merged, command="train")), allow_nan=False))
    return result


def codes(error: pytest.ExceptionInfo[TunesmithError]) -> list[str]:
    return [problem.code for problem in error.value.problems]


def log_of(folder: Path) -> list[Keys]:
    return [json.loads(line) for line in (folder / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["sft", "pt"])
@pytest.mark.parametrize(
    ("tuner", "weights"),
    [
        ({"finetuning_type": "lora", "learning_rate": 4e-3}, "adapter_model.safetensors"),
        ({"finetuning_type": "oft", "oft_block_size": 8, "learning_rate": 4e-3}, "adapter_model.safetensors"),
        ({"finetuning_type": "full"}, "model.safetensors"),
        ({"finetuning_type": "freeze", "freeze_trainable_layers": 1}, "model.safetensors"),
    ],
)
def test_every_stage_and_tuner_learns_and_saves(
    stage: str, tuner: Keys, weights: str, keys: Keys, dataset_writer: DatasetWriter, tmp_path: Path
) -> None:
    texts = [{"text": f"The sum of {n} and {n} is {n + n}, as everybody knows."} for n in range(24)]
    dataset_writer.write("texts", texts, formatting="text")
    changes = {"stage": stage, "num_train_epochs": 3, "cutoff_len": 64, **tuner}
    result = run(keys, **changes, dataset="texts" if stage == "pt" else "tiny")
    folder = tmp_path / "run"
    losses = [entry["loss"] for entry in log_of(folder)]
    assert losses[-1] < losses[0]
    assert result["train_loss"] == pytest.approx(sum(losses) / len(losses)) and result["steps"] == len(losses)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in load_file(folder / weights).values())
    names = {path.name for path in folder.iterdir()}
    assert {weights, "tokenizer.json", "tunesmith.yaml", "train_results.json", "trainer_state.json"} <= names
    assert not [path for path in folder.rglob("*") if path.suffix in {".bin", ".pt", ".pth", ".pkl"}]
    assert (LOCK_FILE not in names) and not [name for name in names if ".partial-" in name]
    assert len(result["sample_answers"]) == 3


def test_the_result_tells_what_happened(keys: Keys, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    result = run(keys, val_size=4, eval_strategy="steps", eval_steps=2, compute_accuracy=True, plot_loss=True)
    assert (result["steps"], result["samples"], result["epochs"]) == (5, 20, 1.0)
    assert result["samples_per_second"] == pytest.approx(result["samples"] / result["seconds"], rel=1e-3)
    assert result["rows"]["rows_in"] == 24 and result["rows"]["rows_dropped"] == 0
    assert {"eval_loss", "eval_accuracy", "eval_perplexity"} <= set(result["eval"])
    assert [Path(path).name for path in result["checkpoints"]] == ["checkpoint-2", "checkpoint-4", "checkpoint-5"]
    assert result["forecast"]["steps"] == 5 and result["forecast"]["longest_row"] > 10
    folder = tmp_path / "run"
    for name in ("training_loss.png", "training_eval_loss.png", "training_eval_accuracy.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    everything = json.loads((folder / "all_results.json").read_text(encoding="utf-8"))
    assert everything["train_loss"] == result["train_loss"] and everything["eval_loss"] == result["eval"]["eval_loss"]
    told = capfd.readouterr()
    assert told.out == ""
    for text in ("Steps: 5", "supervised", "longest row", "Will write about", "trained", "Sample answers", "24 read"):
        assert text in told.err, text


@pytest.mark.slow
def test_the_ending_is_told(keys: Keys, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    best = {"load_best_model_at_end": True, "early_stopping_steps": 1, "greater_is_better": True}  # step 1 stays best
    keys |= {"val_size": 4, "max_samples": 20, "eval_strategy": "steps", "eval_steps": 1, "save_steps": 1, **best}
    result = run(keys)
    evaluations = [entry["current_steps"] for entry in log_of(tmp_path / "run") if "eval_loss" in entry]
    assert result["eval"]["best_step"] == 1 and evaluations == [1, 2]
    told = capfd.readouterr().err
    for text in (
        "Stopped early at step 2 of 4",
        "Kept the weights of checkpoint-1",
        "4 left out by max_samples, 0 drop",
    ):
        assert text in told, text
    run(keys, resume_from_checkpoint=True)
    assert "Trained no further step; before: 2 steps" in capfd.readouterr().err


@pytest.mark.slow
def test_the_saved_configuration_runs_again(keys: Keys, tmp_path: Path) -> None:
    first = run(keys)
    again = tmp_path / "again.yaml"
    shutil.copyfile(tmp_path / "run" / "tunesmith.yaml", again)
    config = load_config(again, command="train", overrides=["output_dir=" + str(tmp_path / "second")])
    assert train.run(config)["train_loss"] == first["train_loss"]
    weights = [(tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("run", "second")]
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_packing_uses_fewer_steps_for_the_same_rows(keys: Keys) -> None:
    result = run(keys, packing=True, cutoff_len=256, per_device_train_batch_size=1)
    assert result["samples"] == 24 and result["steps"] < 8


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["sdpa", "disabled"])
def test_padded_rows_give_the_same_losses_as_packed_ones(attention: str, keys: Keys, tmp_path: Path) -> None:
    packed = run(keys)
    padded = run(keys, flash_attn=attention, output_dir=str(tmp_path / "padded"))
    assert (packed["choices"]["layout"], padded["choices"]["layout"]) == ("packed", "padded")
    losses = [[entry["loss"] for entry in log_of(tmp_path / name)] for name in ("run", "padded")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


@pytest.mark.slow
def test_a_model_can_be_evaluated_without_training(keys: Keys, tmp_path: Path) -> None:
    run(keys)
    (tmp_path / "run" / "train_results.json").rename(tmp_path / "kept.json")
    evaluation = {"do_train": False, "do_eval": True, "eval_dataset": "tiny", "dataset": None}
    base = run(keys, **evaluation, output_dir=str(tmp_path / "base"))
    tuned = run(keys, **evaluation, adapter_name_or_path=str(tmp_path / "run"))
    assert tuned["eval"]["eval_loss"] < base["eval"]["eval_loss"]
    assert (tmp_path / "run" / "eval_results.json").exists() and not (tmp_path / "run" / "train_results.json").exists()
    assert {path.name for path in (tmp_path / "base").iterdir()} == {"eval_results.json", "all_results.json"}


@pytest.mark.slow
def test_an_adapter_is_trained_on(keys: Keys, tmp_path: Path) -> None:
    first = run(keys, learning_rate=4e-3)
    second = run(keys, learning_rate=4e-3, adapter_name_or_path=str(tmp_path / "run"), output_dir=str(tmp_path / "on"))
    assert second["train_loss"] < first["train_loss"]


@pytest.mark.slow
def test_tensorboard_receives_the_values(keys: Keys, tmp_path: Path) -> None:
    run(keys, report_to="tensorboard", max_steps=2)
    assert list((tmp_path / "run").rglob("events.out.tfevents*"))


def test_frozen_short_weights_and_trained_long_ones_work_together(keys: Keys) -> None:
    evaluation = {"val_size": 4, "do_train": True, "do_eval": True, "do_predict": True, "max_new_tokens": 4}
    result = run(keys, finetuning_type="freeze", freeze_trainable_layers=1, bf16=True, max_steps=2, **evaluation)
    assert result["choices"]["dtype"] == "bfloat16" and len(result["sample_answers"]) == 3
    assert "eval_loss" in result["eval"] and result["predict"]["predict_samples"] == 4


@pytest.mark.slow
def test_mixed_precision_trains_float32_adapters_on_bfloat16_weights(keys: Keys, tmp_path: Path) -> None:
    result = run(keys, bf16=True)
    assert result["choices"]["dtype"] == "bfloat16"
    adapter = load_file(tmp_path / "run" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in adapter.values()} == {torch.float32}
    pure = run(keys, pure_bf16=True, output_dir=str(tmp_path / "pure"))
    adapter = load_file(tmp_path / "pure" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in adapter.values()} == {torch.bfloat16}
    assert pure["train_loss"] == pytest.approx(result["train_loss"], abs=0.02)


# How a run begins


@pytest.mark.slow
def test_true_starts_fresh_and_says_so_then_continues(keys: Keys, tmp_path: Path) -> None:
    straight = run(keys, output_dir=str(tmp_path / "straight"), num_train_epochs=2)
    run(keys, resume_from_checkpoint=True)
    assert [problem.code for problem in collected_warnings()].count("checkpoint.none_found") == 1
    resumed = run(keys, resume_from_checkpoint=True, num_train_epochs=2)
    for name in ("steps", "samples", "tokens", "supervised_tokens"):
        assert resumed[name] == straight[name], name
    assert resumed["train_loss"] == pytest.approx(straight["train_loss"], abs=1e-6)
    weights = [(tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("run", "straight")]
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_a_damaged_checkpoint_is_passed_over(keys: Keys, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    straight = run(keys)
    (tmp_path / "run" / "checkpoint-6" / "optimizer.safetensors").write_bytes(b"cut off")
    resumed = run(keys, resume_from_checkpoint=True)
    told = capfd.readouterr().err
    assert "checkpoint-6 is damaged (optimizer.safetensors has 7 bytes" in told
    assert "Continuing from " + str(tmp_path / "run" / "checkpoint-4") in told
    assert resumed["train_loss"] == pytest.approx(straight["train_loss"], abs=1e-9)


@pytest.mark.slow
def test_an_earlier_run_is_refused_or_moved_aside(keys: Keys, tmp_path: Path) -> None:
    run(keys, save_strategy="no", max_steps=1)
    with pytest.raises(TunesmithError) as caught:
        run(keys)
    assert codes(caught) == ["training.output_not_empty"]
    run(keys, overwrite_output_dir=True, max_steps=1)
    assert (tmp_path / "run.old-1" / "adapter_model.safetensors").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"learning_rate": 1e-3}, "learning_rate: 0.0004 → 0.001"),
        ({"lora_rank": 4}, "lora_rank: 8 → 4"),
        ({"template": "qwen3"}, "template"),
        ({"max_samples": 20}, "the training data: "),
    ],
)
def test_a_changed_run_is_not_continued(changes: Keys, shown: str, keys: Keys, tmp_path: Path) -> None:
    run(keys, max_steps=2)
    before = sorted(path.name for path in (tmp_path / "run").iterdir())
    with pytest.raises(TunesmithError) as caught:
        run(keys, max_steps=2, resume_from_checkpoint=True, **changes)
    assert codes(caught) == ["checkpoint.run_differs"] and shown in str(caught.value)
    assert caught.value.exit_code == 2 and "overwrite_output_dir" in caught.value.problems[0].remedy
    assert before == sorted(path.name for path in (tmp_path / "run").iterdir())


@pytest.mark.slow
def test_changed_rows_are_noticed(keys: Keys, tiny_dataset: Path) -> None:
    run(keys, max_steps=2)
    path = tiny_dataset / "tiny.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("It is 4.", "It is 5."), encoding="utf-8")
    with pytest.raises(TunesmithError, match=r"checkpoint\.run_differs.*the training data"):
        run(keys, max_steps=2, resume_from_checkpoint=True)


def test_a_folder_in_use_is_refused(keys: Keys, tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "run")], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        for overwrite in (False, True):
            with pytest.raises(TunesmithError) as caught:
                run(keys, overwrite_output_dir=overwrite)
            assert codes(caught) == ["training.output_in_use"]
    finally:
        other.kill()
        other.wait()
    assert run(keys, max_steps=1)["steps"] == 1, "the lock of a killed process is stale"


HOLDER = """
import sys, time
from pathlib import Path
from tunesmith.training.lock import hold_lock
with hold_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


# Refusals leave nothing behind


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"fp16": True}, "training.precision_unsupported"),
        ({"report_to": "wandb"}, "environment.package_missing"),
        (
            {"val_size": 4, "eval_strategy": "steps", "metric_for_best_model": "accuracy"},
            "training.metric_unknown",
        ),
    ],
)
def test_a_refused_run_writes_nothing(changes: Keys, code: str, keys: Keys, tmp_path: Path) -> None:
    with pytest.raises(TunesmithError) as caught:
        run(keys, **changes)
    assert codes(caught) == [code]
    assert not (tmp_path / "run").exists()


def test_a_disk_too_small_is_refused_before_training(
    keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("tunesmith.jobs.forecast.shutil.disk_usage", lambda path: usage)
    with pytest.raises(TunesmithError) as caught:
        run(keys)
    assert codes(caught) == ["resources.disk_short"] and caught.value.exit_code == 5
    assert not (tmp_path / "run").exists()


# Non-finite values, and interruption


class Poison(TrainerCallback):
    """Puts a NaN into one adapter weight as a step begins; steps are counted from 1."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Damage the weight."""
        if state.global_step + 1 == self._step:
            with torch.no_grad():
                next(weight for name, weight in kwargs["model"].named_parameters() if NAN_WEIGHT in name)[0, 3] = (
                    math.nan
                )


NAN_WEIGHT = "layers.1.mlp.down_proj.lora_B"


def test_a_nan_in_an_adapter_at_step_7_stops_the_run(
    keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {**keys, "num_train_epochs": 2}
    straight = run(keys, output_dir=str(tmp_path / "straight"))
    build = build_trainer

    def build_poisoned(*args: Any, **kwargs: Any) -> Any:
        trainer = build(*args, **kwargs)
        trainer.add_callback(Poison(7))
        return trainer

    with monkeypatch.context() as patch:
        patch.setattr(train, "build_trainer", build_poisoned)
        with pytest.raises(TunesmithError) as caught:
            run(keys)
    (problem,) = caught.value.problems
    assert caught.value.exit_code == 6 and problem.code == "training.loss_not_finite"
    assert "Step 7" in problem.message and NAN_WEIGHT in problem.message
    assert problem.where.dataset == "tiny" and problem.where.num_rows == 4 and len(problem.where.rows or ()) == 4
    folder = tmp_path / "run"
    assert not (folder / "adapter_model.safetensors").exists(), "nothing that looks finished"
    assert [step for step, _ in list_checkpoints(folder)] == [2, 4, 6]
    assert find_fault(folder / "checkpoint-6") is None
    resumed = run(keys, resume_from_checkpoint=True)
    assert resumed["train_loss"] == pytest.approx(straight["train_loss"], abs=1e-9)


@pytest.mark.slow
def test_ctrl_c_saves_a_checkpoint_and_the_run_goes_on_later(keys: Keys, tmp_path: Path) -> None:
    long = {**keys, "num_train_epochs": 40, "save_strategy": "no"}
    file = tmp_path / "run.json"
    file.write_text(json.dumps(long), encoding="utf-8")
    program = shutil.which("tunesmith", path=Path(sys.executable).parent)
    assert program is not None
    process = subprocess.Popen([program, "train", str(file), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    log = tmp_path / "run" / "trainer_log.jsonl"
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_text(encoding="utf-8").count("\n") >= 5) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors.decode()
    answer = json.loads(output)
    assert answer["ok"] is False and answer["error"]["code"] == "training.run_interrupted"
    ((step, checkpoint),) = list_checkpoints(tmp_path / "run")
    assert find_fault(checkpoint) is None and not (tmp_path / "run" / "adapter_model.safetensors").exists()
    result = run(long, resume_from_checkpoint=True, max_steps=step + 2)
    assert result["steps"] == step + 2 and result["samples"] == 4 * (step + 2)
