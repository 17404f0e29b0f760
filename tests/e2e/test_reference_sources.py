# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""SFT, then training on preferences or feedback: with every source of the reference the run starts where it must."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from peft import PeftModel
from torch import nn

from tunesmith.config.load import load_config
from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import Batch
from tunesmith.jobs import reference, train
from tunesmith.models.tuners.full import FullTuner
from tunesmith.models.tuners.lora import LoraTuner
from tunesmith.training.comparison import Comparison

Keys = dict[str, Any]
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep log-probs of these tests apart from the user's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(reference, "cache_folder", lambda name: folder / name)
    return folder


def run(keys: Keys, **changes: Any) -> Keys:
    result: Keys = json.loads(json.dumps(train.run(load_config({**keys, **changes}, command="train")), allow_nan=False))
    return result


@pytest.fixture(scope="module")
def feedback(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """Write the bundled pairs as answers that are liked or not, the labels as texts."""
    lines = (repository / "data" / "preference.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines[:24]]
    made = [
        {"prompt": row["instruction"], "completion": row["chosen" if n % 2 else "rejected"], "label": str(n % 2 == 1)}
        for n, row in enumerate(rows)
    ]
    folder = tmp_path_factory.mktemp("feedback")
    (folder / "feedback.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    columns = {"prompt": "prompt", "response": "completion", "kto_tag": "label"}
    info = {"feedback": {"file_name": "feedback.jsonl", "columns": columns}}
    (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def base(tiny_llama_folder: Path, repository: Path) -> Keys:
    """Give the keys that all runs share, in float32 on the CPU."""
    return {
        "model_name_or_path": str(tiny_llama_folder),
        "dataset_dir": str(repository / "data"),
        "finetuning_type": "lora",
        "lora_dropout": 0.1,
        "use_cpu": True,
        "per_device_train_batch_size": 4,
        "learning_rate": 4e-3,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "save_strategy": "no",
        "max_samples": 12,
    }


@pytest.fixture(scope="module")
def tuned(base: Keys, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Fine-tune for 30 steps, an adapter and a whole model."""
    folders = {name: tmp_path_factory.mktemp(name) / "sft" for name in ("lora", "full")}
    shared = {"stage": "sft", "dataset": "orders_train", "max_steps": 30, "lora_dropout": 0.0}
    run({**base, **shared}, output_dir=str(folders["lora"]))
    del shared["lora_dropout"]
    keys = {name: value for name, value in base.items() if name != "lora_dropout"}
    run({**keys, **shared}, output_dir=str(folders["full"]), finetuning_type="full", learning_rate=1e-3)
    return folders


def keys_of(source: str, base: Keys, tuned: dict[str, Path]) -> Keys:
    """Continue the tuned model so that the reference comes from a source."""
    adapter: Keys = {"adapter_name_or_path": str(tuned["lora"])}
    kinds: dict[str, Keys] = {
        "adapter off": {**adapter, "create_new_adapter": True},
        "frozen copy": adapter,
        "full copy": {"model_name_or_path": str(tuned["full"]), "finetuning_type": "full", "learning_rate": 1e-4},
        "ref_model": {**adapter, "ref_model": base["model_name_or_path"], "ref_model_adapters": str(tuned["lora"])},
    }
    kind, _, once = source.partition(", ")
    keys = {**base, **kinds[kind], "precompute_ref_log_probs": bool(once), "max_steps": 2}
    if kind == "full copy":
        del keys["lora_dropout"]
    return keys


SOURCES = [
    *("adapter off", "frozen copy", "frozen copy, scored once", "full copy", "full copy, scored once"),
    *("ref_model", "ref_model, scored once"),
]


@pytest.mark.parametrize("source", SOURCES)
def test_preference_training_starts_at_ln_2(source: str, base: Keys, tuned: dict[str, Path], tmp_path: Path) -> None:
    result = run(keys_of(source, base, tuned), stage="dpo", dataset="preference", output_dir=str(tmp_path / "dpo"))
    described = json.loads((tmp_path / "dpo" / "reference.json").read_text(encoding="utf-8"))
    assert described == result["reference"]
    start = described["step_0"]
    assert start["loss"] == pytest.approx(0.6931, abs=1e-3) and abs(start["margin"]) <= 1e-3
    assert described["is_scored_once"] is source.endswith("once")
    assert described["is_named_by_user"] is source.startswith("ref_model") and described["hashes"]
    kept = tmp_path / "dpo" / "start_adapters" / "0" / "adapter_model.safetensors"
    assert kept.is_file() is not source.startswith("full")


@pytest.mark.parametrize("source", ["adapter off", "frozen copy, scored once", "full copy"])
def test_feedback_training_starts_without_divergence(
    source: str, base: Keys, tuned: dict[str, Path], feedback: Path, tmp_path: Path
) -> None:
    keys = keys_of(source, base, tuned)
    result = run(
        keys, stage="kto", dataset="feedback", dataset_dir=str(feedback), output_dir=str(tmp_path / "kto"),
        gradient_accumulation_steps=2, per_device_train_batch_size=2,
    )  # fmt: skip
    assert result["reference"]["step_0"]["loss"] == pytest.approx(0.5, abs=1e-3)
    log = (tmp_path / "kto" / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in log]
    first = next(entry for entry in entries if "loss" in entry)
    assert abs(first["kl"]) <= (1e-3 if source.startswith("full") else 0.5)  # dropout moves what is trained
    assert {"rewards/chosen", "rewards/rejected", "rewards/margins"} <= set(first)


@pytest.mark.parametrize(("stage", "tuner"), [("dpo", "lora"), ("dpo", "full"), ("kto", "lora")])
def test_the_raw_base_put_in_stops_the_run_and_tells_the_margin(
    stage: str, tuner: str, base: Keys, tuned: dict[str, Path], feedback: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    @contextlib.contextmanager
    def switched_off(self: LoraTuner, model: nn.Module) -> Iterator[None]:
        assert isinstance(model, PeftModel)
        with model.disable_adapter():
            yield

    @contextlib.contextmanager
    def zeroed(self: FullTuner, model: nn.Module) -> Iterator[None]:
        weights = list(model.parameters())
        values = [weight.data for weight in weights]
        for weight in weights:
            weight.data = weight.data * 0.5
        yield
        for weight, value in zip(weights, values, strict=True):
            weight.data = value

    monkeypatch.setattr(LoraTuner, "base_view", switched_off)
    monkeypatch.setattr(FullTuner, "base_view", zeroed)
    keys = keys_of("frozen copy" if tuner == "lora" else "full copy", base, tuned)
    data = {"dataset": "preference"} if stage == "dpo" else {"dataset": "feedback", "dataset_dir": str(feedback)}
    with pytest.raises(TunesmithError) as caught:
        run(keys, stage=stage, output_dir=str(tmp_path / "run"), **data)
    (problem,) = caught.value.problems
    assert problem.code == "training.reference_differs" and "is off by" in problem.message
    assert stage == "kto" or "The reward margin is" in problem.message
    assert not list((tmp_path / "run").glob("*.safetensors"))


def test_another_reference_is_measured_and_recorded(base: Keys, tuned: dict[str, Path], tmp_path: Path) -> None:
    keys = keys_of("frozen copy", base, tuned)
    result = run(
        keys, stage="dpo", dataset="preference", output_dir=str(tmp_path / "dpo"),
        ref_model=base["model_name_or_path"],
    )  # fmt: skip
    start = result["reference"]["step_0"]
    assert abs(start["margin"]) > 1e-3 and start["loss"] != pytest.approx(0.6931, abs=1e-4)
    assert set(result["reference"]["hashes"]) == {"reference model"}
    changes: Keys = {"do_train": False, "do_eval": True, "dataset": None, "eval_dataset": "preference"}
    judged = run(
        {**base, **changes, "stage": "dpo", "adapter_name_or_path": str(tmp_path / "dpo"),
         "ref_model": base["model_name_or_path"], "output_dir": str(tmp_path / "eval")}
    )  # fmt: skip
    assert judged["eval"]["eval_rewards/margins"] != 0 and judged["eval"]["eval_loss"] != pytest.approx(
        0.6931, abs=1e-4
    )


def test_a_resume_reads_the_start_that_was_kept(base: Keys, tuned: dict[str, Path], tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    shutil.copytree(tuned["lora"], adapter)
    keys = {
        **base, "stage": "dpo", "dataset": "preference", "adapter_name_or_path": str(adapter),
        "output_dir": str(tmp_path / "dpo"), "max_steps": 4, "save_strategy": "steps", "save_steps": 2,
    }  # fmt: skip
    whole = run(keys)
    expected = (tmp_path / "dpo" / "adapter_model.safetensors").read_bytes()
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0?")
    calls: list[Batch] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Comparison, "check_start", lambda self, batch: calls.append(batch))
        resumed = run(keys, resume_from_checkpoint=str(tmp_path / "dpo" / "checkpoint-2"))
    assert not calls  # the gate never runs on a resume
    assert (tmp_path / "dpo" / "adapter_model.safetensors").read_bytes() == expected
    assert resumed["reference"]["step_0"] == whole["reference"]["step_0"]
    with pytest.raises(TunesmithError) as caught:
        (tmp_path / "dpo" / "start_adapters" / "0" / "adapter_model.safetensors").write_bytes(weights.read_bytes())
        run(keys, resume_from_checkpoint=str(tmp_path / "dpo" / "checkpoint-2"))
    assert caught.value.problems[0].code == "checkpoint.run_differs"


def test_a_resumed_run_on_kept_scores_ends_in_the_same_bytes(base: Keys, feedback: Path, tmp_path: Path) -> None:
    keys = {
        **base,
        "stage": "kto",
        "dataset": "feedback",
        "dataset_dir": str(feedback),
        "output_dir": str(tmp_path / "kto"),
        "num_train_epochs": 2,
        "save_strategy": "steps",
        "save_steps": 2,
        "gradient_accumulation_steps": 2,
        "per_device_train_batch_size": 2,
    }
    result = run(keys)
    assert result["choices"]["precompute_ref_log_probs"] is True  # two passes: once is cheaper
    expected = (tmp_path / "kto" / "adapter_model.safetensors").read_bytes()
    run(keys, resume_from_checkpoint=str(tmp_path / "kto" / "checkpoint-2"))
    assert (tmp_path / "kto" / "adapter_model.safetensors").read_bytes() == expected


def test_an_adapter_with_new_tokens_is_a_reference_with_them(base: Keys, tmp_path: Path) -> None:
    """Policy and reference are one adapter and one set of new rows, so training starts at ln 2."""
    adapter = tmp_path / "sft"
    new = {"add_tokens": [" the", " order"], "learning_rate": 1e-2}
    run({**base, **new, "stage": "sft", "dataset": "orders_train", "max_steps": 3, "output_dir": str(adapter)})
    keys = {**base, "stage": "dpo", "dataset": "preference", "max_steps": 1, "lora_dropout": 0.0}
    shared = {**keys, "output_dir": str(tmp_path / "dpo"), "ref_model_adapters": str(adapter)}
    started = run({**shared, "adapter_name_or_path": str(adapter)})["reference"]["step_0"]
    assert started["loss"] == pytest.approx(0.6931, abs=1e-4) and abs(started["margin"]) < 1e-4
    with pytest.raises(TunesmithError) as caught:
        run({**shared, "output_dir": str(tmp_path / "plain")})
    (problem,) = caught.value.problems
    assert problem.code == "tuner.adapter_mismatch" and "2 new tokens" in problem.message


def test_an_adapter_of_quantised_weights_is_a_reference_on_them(base: Keys, tmp_path: Path) -> None:
    """Policy and reference are one adapter on one rounded base, so training starts at ln 2; on the plain one not."""
    pytest.importorskip("bitsandbytes")
    rounded = {**base, "lora_dropout": 0.0, "quantization_bit": 4}
    adapter = tmp_path / "sft"
    run({**rounded, "stage": "sft", "dataset": "orders_train", "max_steps": 20, "output_dir": str(adapter)})
    plain = Path(shutil.copytree(adapter, tmp_path / "unrecorded"))
    (plain / "tunesmith_base.json").unlink()
    starts = {}
    for name, reference_adapter in (("recorded", adapter), ("plain", plain)):
        keys = {
            **rounded,
            "stage": "dpo",
            "dataset": "preference",
            "max_steps": 1,
            "adapter_name_or_path": str(adapter),
        }
        result = run(keys, ref_model_adapters=str(reference_adapter), output_dir=str(tmp_path / name))
        starts[name] = result["reference"]["step_0"]
    assert starts["recorded"]["loss"] == pytest.approx(0.6931, abs=1e-4) and abs(starts["recorded"]["margin"]) < 1e-4
    assert abs(starts["plain"]["margin"]) > 1e-3
    with pytest.raises(TunesmithError) as caught:
        run(keys, ref_model_adapters=f"{adapter},{plain}", output_dir=str(tmp_path / "two"))
    (problem,) = caught.value.problems
    assert problem.code == "training.reference_base_quantised" and problem.where.key == "ref_model_adapters"
