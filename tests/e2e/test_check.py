# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Preflight end to end: every broken run is found by its own code, and a sound run draws not a word."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from tests.conftest import RunCommand
from tests.e2e.check_runs import NUM_ROWS, Verdict, check_run, read_cases, write_run
from tunesmith.checks import context
from tunesmith.core.errors import Problem
from tunesmith.models.load import load_model
from tunesmith.models.tuners.lora import LoraParams, LoraTuner
from tunesmith.templates.tokenizer import load_tokenizer

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
LOADED: dict[tuple[bytes, ...], PreTrainedTokenizerBase] = {}
BROKEN = read_cases("broken.yaml")
SOUND = read_cases("sound.yaml")


@pytest.fixture(autouse=True)
def tokenizers_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load equal tokenizer files once for all runs: it is two thirds of the time of a check on rows this few."""
    monkeypatch.setattr(context, "load_tokenizer", load_once)


def load_once(folder: Path) -> PreTrainedTokenizerBase:
    key = tuple((folder / name).read_bytes() for name in TOKENIZER_FILES if (folder / name).is_file())
    if key not in LOADED:
        LOADED[key] = load_tokenizer(folder)
    return LOADED[key]


def in_folder(folder: Path, case: dict[str, Any], model: Path, monkeypatch: pytest.MonkeyPatch) -> Verdict:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("TUNESMITH_UNSET_VARIABLE", raising=False)
    return check_run(write_run(folder, case, model))


def rows_named(problems: tuple[Problem, ...]) -> list[int]:
    return sorted(row for problem in problems for row in problem.where.rows or ())


@pytest.mark.parametrize("case", BROKEN, ids=[case["name"] for case in BROKEN])
def test_a_broken_run_is_found(
    case: dict[str, Any], tiny_llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict = in_folder(tmp_path, case, tiny_llama_folder, monkeypatch)
    expected = case.get("codes", [case.get("code")])
    found = verdict.refusals if "exit" in case else verdict.warnings
    assert sorted({problem.code for problem in (*verdict.refusals, *verdict.warnings)}) == expected, found
    assert sorted({problem.code for problem in found}) == expected
    assert verdict.exit_code == case.get("exit", 0)
    if "key" in case:
        assert {problem.where.key for problem in found} == {case["key"]}
    if "places" in case:
        assert rows_named(found) == (list(range(NUM_ROWS)) if case["places"] == "all" else case["places"])
    assert all(problem.message and problem.remedy for problem in found)


@pytest.mark.parametrize("case", SOUND, ids=[case["name"] for case in SOUND])
def test_a_sound_run_draws_no_word(
    case: dict[str, Any], tiny_llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict = in_folder(tmp_path, case, tiny_llama_folder, monkeypatch)
    assert (verdict.refusals, verdict.warnings) == ((), ())
    assert verdict.exit_code == 0


def test_there_are_runs_enough() -> None:
    assert len(BROKEN) >= 30 and len(SOUND) >= 20


def test_all_faults_of_one_file_are_found_at_once(
    tiny_llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    question, answer = {"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}
    case = {
        "records": "chats",
        "rows": {
            3: {"messages": [question, {**answer, "loss_weight": 0}]},
            4: {"messages": [{"role": "narrator", "content": "A"}, answer]},
            5: {"messages": [question, {**answer, "content": "word " * 600}]},
            9: {"messages": [question, {**answer, "loss_weight": 0}]},
        },
    }
    verdict = in_folder(tmp_path, case, tiny_llama_folder, monkeypatch)
    assert verdict.exit_code == 3
    found = {problem.where.rows: problem for problem in verdict.refusals}
    assert set(found) == {(3, 9), (4,), (5,)}
    assert "nothing_supervised" in found[3, 9].message
    assert found[4,].code == "data.role_unknown" and "narrator" in found[4,].message
    assert "answer_too_long" in found[5,].message


def test_settings_model_template_and_rows_are_judged_in_one_go(
    tiny_llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = {
        "keys": {"lora_target": "query", "template": "llama3", "learning_rate": 0.5, "cutoff_len": 9000},
        "rows": {7: {"output": 5}},
    }
    verdict = in_folder(tmp_path, case, tiny_llama_folder, monkeypatch)
    assert {problem.code for problem in verdict.refusals} == {
        "tuner.target_unknown",
        "check.control_token_foreign",
        "check.length_beyond_positions",
        "data.type_wrong",
    }
    assert [problem.code for problem in verdict.warnings] == ["check.learning_rate_unusual"]
    lines = (tmp_path / "run.yaml").read_text(encoding="utf-8").splitlines()
    for problem in (*verdict.refusals, *verdict.warnings):
        if problem.where.key is not None:
            assert problem.where.line is not None and lines[problem.where.line - 1].startswith(problem.where.key)


def save_adapter(folder: Path, model: Path, **keys: object) -> None:
    tuner = LoraTuner(LoraParams.model_validate(keys))
    folder.mkdir()
    tuner.save(tuner.attach(load_model(model, dtype=torch.float32, attention="sdpa")), folder)


@pytest.mark.parametrize(
    ("keys", "ignored"),
    [
        ({"lora_rank": 4, "lora_target": "all"}, None),
        ({"lora_rank": 4, "lora_target": "q_proj,v_proj", "create_new_adapter": True}, None),
        ({"lora_rank": 16, "lora_alpha": 8}, "lora_rank 16 (the adapter has 4)"),
        ({"lora_target": "k_proj,v_proj"}, "lora_target k_proj,v_proj (the adapter has q_proj,v_proj)"),
    ],
)
def test_keys_beside_a_loaded_adapter(
    keys: dict[str, object],
    ignored: str | None,
    tiny_llama_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save_adapter(tmp_path / "adapter", tiny_llama_folder, lora_rank=4, lora_target=("q_proj", "v_proj"))
    case = {"keys": {"adapter_name_or_path": "adapter", **keys}}
    verdict = in_folder(tmp_path, case, tiny_llama_folder, monkeypatch)
    assert verdict.refusals == ()
    assert [problem.code for problem in verdict.warnings] == (["check.adapter_keys_ignored"] if ignored else [])
    assert ignored is None or ignored in verdict.warnings[0].message


def test_an_adapter_of_another_model_is_refused(
    tiny_llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_adapter(tmp_path / "adapter", tiny_llama_folder)
    case = {"config": {"intermediate_size": 96}, "keys": {"adapter_name_or_path": "adapter"}}
    verdict = in_folder(tmp_path, case, tiny_llama_folder, monkeypatch)
    assert [problem.code for problem in verdict.refusals] == ["tuner.adapter_mismatch"]


def test_example_files_of_llama_factory_draw_no_word(
    assets: Path, tiny_llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slots of the identity set are filled in, as its makers tell the user to; left as they are, they are named."""
    monkeypatch.chdir(tmp_path)
    sets = assets / "datasets"
    identity = (sets / "sft" / "identity.json").read_text(encoding="utf-8")
    filled = identity.replace("{{name}}", "Ada").replace("{{author}}", "Tunesmith")
    (tmp_path / "identity.json").write_text(filled, encoding="utf-8")
    for name, data in {
        "train_lora/qwen3_lora_sft.yaml": f"identity.json,{sets / 'sft/alpaca_en.json'}",
        "train_lora/qwen3_lora_pretrain.yaml": f"{sets / 'pretrain/c4_en.jsonl'}",
    }.items():
        words = [f"model_name_or_path={tiny_llama_folder}", f"dataset={data}", "dataset_dir=."]
        verdict = check_run(assets / "configs" / "llamafactory" / name, words)
        assert (verdict.refusals, verdict.warnings) == ((), ()), name
    words[1] = f"dataset={sets / 'sft/identity.json'},{sets / 'sft/alpaca_en.json'}"
    warnings = check_run(assets / "configs/llamafactory/train_lora/qwen3_lora_sft.yaml", words).warnings
    assert [(one.code, one.where.num_rows) for one in warnings] == [
        ("check.answers_placeholder", 85),
        ("check.answers_placeholder", 1),
    ]


@pytest.mark.slow
def test_the_command_says_it_in_json(tunesmith_command: RunCommand, tiny_llama_folder: Path, tmp_path: Path) -> None:
    write_run(tmp_path, {"rows": {5: {"output": ""}}, "keys": {"save_steps": 200}}, tiny_llama_folder)
    result = tunesmith_command("check", "run.yaml", "--json")
    assert result.returncode == 3
    answer = result.json
    assert answer["ok"] is False
    assert answer["error"]["code"] == "check.answer_empty"
    assert answer["error"]["where"]["rows"] == [5] and answer["error"]["where"]["num_rows"] == 1
    assert [warning["code"] for warning in answer["warnings"]] == ["check.saving_never"]
    assert answer["report"]["rows"] == NUM_ROWS


@pytest.mark.slow
def test_training_asks_the_same_rules(tunesmith_command: RunCommand, tiny_llama_folder: Path, tmp_path: Path) -> None:
    write_run(tmp_path, {"rows": {5: {"output": ""}}}, tiny_llama_folder)
    result = tunesmith_command("train", "run.yaml")
    assert result.returncode == 3
    assert "check.answer_empty" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not count the time of child processes")
def test_two_thousand_rows_are_checked_in_seconds(
    tunesmith_command: RunCommand, tiny_llama_folder: Path, tmp_path: Path
) -> None:
    write_run(tmp_path, {"number": 2000}, tiny_llama_folder)
    before = os.times()
    result = tunesmith_command("check", "run.yaml", "--json")
    assert result.returncode == 0, result.stderr
    assert result.json["report"]["rows"] == 2000
    after = os.times()
    # Seconds of work, so that other programs on the machine do not count.
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    assert 1 < seconds < 15
