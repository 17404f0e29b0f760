# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Reward models from the bundled pairs, on a tiny model: scores as transformers gives them, exact resume."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import AutoPeftModelForSequenceClassification
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.conftest import DatasetWriter
from tests.e2e.pair_runs import Keys, pair_keys, run
from tunesmith.config.load import load_config
from tunesmith.core.errors import TunesmithError
from tunesmith.jobs import export, score


@pytest.fixture
def keys(tiny_llama_folder: Path, repository: Path, tmp_path: Path) -> Keys:
    """Give the keys of a sound run of 6 steps on pairs."""
    return pair_keys("rm", model=tiny_llama_folder, repository=repository, output=tmp_path / "run")


def scored(keys: Keys, path: Path, **changes: Any) -> tuple[Keys, list[Keys]]:
    """Score rows in float32, and give the summary and the lines."""
    config = load_config({**keys, "infer_dtype": "float32", **changes}, command="score")
    result = score.run(config, output=str(path))
    return result, [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def plain_scores(model: Any, tokenizer: Any, rows: list[Keys]) -> list[list[float]]:
    """Let transformers judge the answers of rows, rendered by its own chat template, all of a row in one batch."""
    found = []
    for row in rows:
        asked = {"role": "user", "content": row["instruction"]}
        texts = [
            tokenizer.apply_chat_template([asked, {"role": "assistant", "content": row[side]}], tokenize=False)
            for side in ("chosen", "rejected")
        ]
        inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.no_grad():
            found.append(model(**inputs).logits[:, 0].tolist())
    return found


def bundled_rows(repository: Path, count: int) -> list[Keys]:
    lines = (repository / "data" / "preference.jsonl").read_text(encoding="utf-8").splitlines()[:count]
    return [json.loads(line) for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("tuner", ["lora", "full"])
def test_a_reward_model_learns_and_transformers_gives_the_same_scores(
    tuner: str, keys: Keys, repository: Path, tmp_path: Path
) -> None:
    result = run(keys, finetuning_type=tuner, num_train_epochs=3, val_size=0.2, eval_strategy="epoch")
    assert result["eval"]["eval_rewards/accuracies"] > 0.8 and result["sample_answers"] == []
    folder = tmp_path / "run"
    named = {"adapter_name_or_path": str(folder)} if tuner == "lora" else {"model_name_or_path": str(folder)}
    rows = bundled_rows(repository, 4)
    summary, lines = scored(keys, tmp_path / "scores.jsonl", finetuning_type=tuner, max_samples=None, **named)
    assert summary["kind"] == "preference" and summary["rows"] == summary["pairs"] == len(lines) == 160
    assert summary["accuracy"] > 0.8 and summary["mean_margin"] > 0
    if tuner == "lora":
        plain: Any = AutoPeftModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32)
    else:
        plain = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    expected = plain_scores(plain.eval(), AutoTokenizer.from_pretrained(folder), rows)
    assert [[line["chosen"], *line["rejected"]] for line in lines[:4]] == [
        pytest.approx(each, abs=1e-4) for each in expected
    ]


@pytest.mark.slow
def test_an_exported_reward_model_gives_the_same_scores(keys: Keys, repository: Path, tmp_path: Path) -> None:
    run(keys)
    _, lines = scored(keys, tmp_path / "scores.jsonl", adapter_name_or_path=str(tmp_path / "run"))
    for dtype, tolerance in (("float32", 1e-4), ("bfloat16", 0.2)):
        target = tmp_path / dtype
        exporting = {"model_name_or_path": keys["model_name_or_path"], "adapter_name_or_path": str(tmp_path / "run")}
        config = load_config({**exporting, "export_dir": str(target), "infer_dtype": dtype}, command="export")
        result = export.run(config)
        assert result["reward_relative_error"] < 0.1 and result["merge_max_abs_diff"] < 1e-4
        _, again = scored(keys, tmp_path / f"{dtype}.jsonl", model_name_or_path=str(target))
        for line, other in zip(lines, again, strict=True):
            assert other["chosen"] == pytest.approx(line["chosen"], abs=tolerance)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "float32", dtype=torch.float32).eval()
    expected = plain_scores(plain, AutoTokenizer.from_pretrained(tmp_path / "float32"), bundled_rows(repository, 24))
    for line, known in zip(lines, expected, strict=True):
        assert [line["chosen"], *line["rejected"]] == pytest.approx(known, abs=1e-4)


@pytest.mark.slow
def test_a_resumed_run_goes_on_as_if_nothing_had_happened(keys: Keys, tmp_path: Path) -> None:
    changes: Keys = {"finetuning_type": "full", "gradient_accumulation_steps": 2, "per_device_train_batch_size": 2}
    run(keys, **changes)
    name = "model.safetensors"
    whole = (tmp_path / "run" / name).read_bytes()
    run(keys, **changes, resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-3"))
    assert (tmp_path / "run" / name).read_bytes() == whole


@pytest.mark.slow
def test_a_reward_model_is_continued_and_evaluated(keys: Keys, tmp_path: Path) -> None:
    first = run(keys, num_train_epochs=2, val_size=0.2, eval_strategy="epoch")
    named: Keys = {"adapter_name_or_path": str(tmp_path / "run")}
    alone = run(keys, **named, do_train=False, do_eval=True, val_size=0.2, output_dir=str(tmp_path / "alone"))
    assert alone["eval"]["eval_loss"] == pytest.approx(first["eval"]["eval_loss"], abs=1e-5)
    changes: Keys = {"val_size": 0.2, "eval_strategy": "epoch", "learning_rate": 1e-3}
    going_on = run(keys, **named, **changes, output_dir=str(tmp_path / "again"))
    assert going_on["eval"]["eval_loss"] < 2 * first["eval"]["eval_loss"]
    with pytest.raises(TunesmithError) as caught:
        run(keys, do_train=False, do_eval=True, val_size=0.2, output_dir=str(tmp_path / "none"))
    assert caught.value.problems[0].code == "model.reward_head_missing"


@pytest.mark.slow
def test_rows_of_other_kinds_are_scored_alike(keys: Keys, dataset_writer: DatasetWriter, tmp_path: Path) -> None:
    run(keys)
    pairs = [
        {"instruction": f"Is {n} even?", "chosen": f"{n} it is.", "rejected": "I do not care at all."} for n in range(5)
    ]
    ranking = {"columns": {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected"}, "ranking": True}
    folder = dataset_writer.write("pairs", pairs, **ranking).parent
    supervised = [
        {"instruction": row["instruction"], "output": row[side]} for row in pairs for side in ("chosen", "rejected")
    ]
    dataset_writer.write("answers", supervised)
    named = {"dataset_dir": str(folder), "adapter_name_or_path": str(tmp_path / "run"), "max_samples": None}
    _, by_pair = scored(keys, tmp_path / "a.jsonl", **named, dataset="pairs")
    summary, alone = scored(keys, tmp_path / "b.jsonl", **named, dataset="answers", per_device_eval_batch_size=3)
    assert (summary["kind"], summary["answers"], "pairs" in summary) == ("supervised", 10, False)
    flat = [value for line in by_pair for value in (line["chosen"], *line["rejected"])]
    assert [line["score"] for line in alone] == pytest.approx(flat, abs=1e-5)
    assert [line["source"]["row"] for line in alone] == list(range(10))
    loose = tmp_path / "loose.jsonl"
    loose.write_text("".join(json.dumps(row) + "\n" for row in supervised[:2]), encoding="utf-8")
    _, of_file = scored(keys, tmp_path / "c.jsonl", **{**named, "dataset": str(loose)})
    assert [line["score"] for line in of_file] == pytest.approx(flat[:2], abs=1e-5)


@pytest.mark.slow
def test_margins_of_rows_change_the_loss(keys: Keys, dataset_writer: DatasetWriter, tmp_path: Path) -> None:
    ranking = {"columns": {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected"}, "ranking": True}
    starts = []
    for margin in (0.0, 3.0):
        rows = [
            {"instruction": f"Is {n} even?", "chosen": "Surely.", "rejected": f"No, {n}.", "margin": margin}
            for n in range(8)
        ]
        folder = dataset_writer.write("margins", rows, **ranking).parent
        named = {"dataset": "margins", "dataset_dir": str(folder), "output_dir": str(tmp_path / str(margin))}
        run(keys, **named)
        log = (tmp_path / str(margin) / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
        starts.append(json.loads(log[0])["loss"])
    assert starts[1] > starts[0] + 1.0
    rows = [{"instruction": "Is 1 even?", "chosen": "No.", "rejected": "Yes.", "margin": "a lot"}] * 4
    dataset_writer.write("margins", rows, **ranking)
    with pytest.raises(TunesmithError) as caught:
        run(keys, **{**named, "output_dir": str(tmp_path / "broken")})
    assert caught.value.problems[0].code == "data.margin_invalid"


@pytest.mark.slow
def test_llamafactorys_example_runs_with_model_and_data_changed(
    assets: Path, tiny_llama_folder: Path, repository: Path, tmp_path: Path
) -> None:
    path = assets / "configs" / "llamafactory" / "train_lora" / "qwen3_lora_reward.yaml"
    example: Keys = yaml.safe_load(path.read_text(encoding="utf-8"))
    changed = {
        "model_name_or_path": str(tiny_llama_folder),
        "dataset": "preference",
        "dataset_dir": str(repository / "data"),
        "output_dir": str(tmp_path / "run"),
        "max_samples": 16,
    }
    result = run(example, **changed)
    assert result["steps"] == 6 and (tmp_path / "run" / "adapter_model.safetensors").is_file()
    assert (tmp_path / "run" / "training_loss.png").is_file()
