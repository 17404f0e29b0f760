# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The installed command: exit codes, the JSON contract, one paragraph a problem, and answers without heavy imports."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CommandResult, RunCommand

BAD = """\
model_name_or_path: smollm2-135m
dataset: identity
output_dir: out
lora_rnak: 16
learning_rate: fast
val_size: 0.1
eval_dataset: other
"""
SOUND = "model_name_or_path: smollm2-135m\ndataset: identity\noutput_dir: out\n"
HEAVY = ("torch", "transformers", "datasets", "numpy", "pydantic", "rich")


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """Write a file with three mistakes."""
    path = tmp_path / "bad.yaml"
    path.write_text(BAD, encoding="utf-8")
    return path


def contract(result: CommandResult) -> dict[str, Any]:
    """Check the JSON contract of one answer, and give it."""
    answer = result.json
    assert answer["ok"] is (result.returncode == 0)
    assert isinstance(answer["warnings"], list)
    problems = [*answer["warnings"], *answer.get("errors", [])]
    for problem in problems:
        assert set(problem) == {"code", "message", "where", "remedy"}
        assert set(problem["where"]) == {"file", "line", "key", "dataset", "rows", "num_rows"}
        assert problem["message"]
        assert problem["remedy"]
    if not answer["ok"]:
        assert answer["error"] == answer["errors"][0]
    return answer


def test_three_mistakes_are_three_paragraphs(tunesmith_command: RunCommand, bad: Path) -> None:
    result = tunesmith_command("train", bad)
    assert (result.returncode, result.stdout) == (2, "")
    heads = [line for line in result.stderr.splitlines() if line.startswith("error ")]
    assert [head.split()[1] for head in heads] == ["config.key_unknown", "config.value_invalid", "config.keys_conflict"]
    flowing = " ".join(result.stderr.split())
    for line, remedy in ((4, "Did you mean 'lora_rank'?"), (5, "Write a number"), (6, "Keep one of them.")):
        assert f"bad.yaml, line {line};" in flowing
        assert remedy in flowing
    assert not (bad.parent / "out").exists()


@pytest.mark.parametrize("command", [("train",), ("export",), ("check",), ("check", "--config_only")])
def test_a_bad_file_has_the_same_json_everywhere(
    tunesmith_command: RunCommand, bad: Path, command: tuple[str, ...]
) -> None:
    result = tunesmith_command(*command, bad, "--json")
    answer = contract(result)
    assert result.returncode == 2
    codes = [problem["code"] for problem in answer["errors"]]
    assert codes[:2] == ["config.key_unknown", "config.value_invalid"]
    assert answer["error"]["where"] == {
        "file": str(bad), "line": 4, "key": "lora_rnak", "dataset": None, "rows": None, "num_rows": None,
    }  # fmt: skip


def test_resolving_prints_the_keys(tunesmith_command: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(SOUND + "finetuning_type: full\nlora_rank: 4\n", encoding="utf-8")
    result = tunesmith_command("check", "run.yaml", "--config_only", "learning_rate=1e-4", "--json")
    answer = contract(result)
    assert result.returncode == 0
    assert answer["job"] == "train"
    assert answer["keys"]["learning_rate"] == 1e-4
    assert answer["keys"]["do_train"] is True
    assert [(problem["code"], problem["where"]["line"]) for problem in answer["warnings"]] == [
        ("config.keys_inactive", 5)
    ]
    assert "warning config.keys_inactive" in result.stderr
    assert not (tmp_path / "out").exists()


def test_json_files_and_the_config_option(tunesmith_command: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"model_name_or_path": "m", "template": "qwen"}), encoding="utf-8")
    result = tunesmith_command("check", "--config", "run.json", "--config_only", "--json")
    assert contract(result)["job"] == "chat"


def test_a_run_without_a_file(tunesmith_command: RunCommand) -> None:
    result = tunesmith_command(
        "check", "--config_only", "--json", "--model_name_or_path", "m", "--stage", "sft", "--do_train", "--dataset",
        "a,b", "--output_dir", "o", "--learning-rate", "1e-4", "--bf16",
    )  # fmt: skip
    keys = contract(result)["keys"]
    assert (keys["dataset"], keys["learning_rate"], keys["bf16"]) == (["a", "b"], 1e-4, True)


@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        (("trian",), "cli.verb_unknown", 2),
        (("train",), "cli.file_missing", 2),
        (("train", "absent.yaml"), "config.file_missing", 2),
        (("train", "a.yaml", "b.yaml"), "cli.word_unknown", 2),
        (("help", "lora_rnak"), "config.key_unknown", 2),
        (("version", "please"), "cli.word_unknown", 2),
    ],
)
def test_mistakes_on_the_command_line(
    tunesmith_command: RunCommand, words: tuple[str, ...], code: str, exit_code: int
) -> None:
    result = tunesmith_command(*words, "--json")
    assert result.returncode == exit_code
    assert contract(result)["error"]["code"] == code


def test_chat_has_no_json(tunesmith_command: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(SOUND, encoding="utf-8")
    result = tunesmith_command("chat", "run.yaml", "--json")
    assert (result.returncode, result.stdout) == (2, "")
    assert "cli.json_refused" in result.stderr


def test_version_and_help(tunesmith_command: RunCommand) -> None:
    assert contract(tunesmith_command("version", "--json"))["version"]
    assert tunesmith_command("version").stdout.startswith("tunesmith ")
    assert tunesmith_command("--version").stdout.startswith("tunesmith ")
    assert set(contract(tunesmith_command("help", "--json"))["commands"]) >= {"train", "chat", "export", "check", "env"}
    assert "lora_rank" in tunesmith_command("help", "lora_rank").stdout
    assert contract(tunesmith_command("help", "lora_rank", "--json"))["topics"][0]["key"]["default"] == 8
    assert "cutoff_len (2048)" in tunesmith_command("train", "--help").stdout
    assert tunesmith_command().stdout == tunesmith_command("help").stdout


def test_the_module_is_the_command(tunesmith_command: RunCommand) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tunesmith", "version"], capture_output=True, text=True, encoding="utf-8", check=True
    )
    assert done.stdout == tunesmith_command("version").stdout


def test_env_is_the_doctor(tunesmith_command: RunCommand) -> None:
    answer = contract(tunesmith_command("env", "--json"))
    assert answer["packages"]["torch"]
    assert answer["torch"]["device"] in ("cpu", "cuda", "mps")
    assert answer["memory"]["total_bytes"] > 0
    assert set(answer["extras"]) >= {"demo", "serve", "quant", "optim"}
    assert all(set(state) == {"installed", "missing"} for state in answer["extras"].values())


def test_env_names_a_broken_neighbour_of_torch(
    tunesmith_command: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')\n", encoding="utf-8"
    )
    metadata = tmp_path / "torchvision-0.0.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.0.1\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = tunesmith_command("env", "--json")
    assert result.returncode == 0
    (problem,) = [p for p in contract(result)["warnings"] if p["code"] == "environment.package_broken"]
    assert "torchvision 0.0.1" in problem["message"]
    assert "torchvision::nms does not exist" in problem["message"]


@pytest.mark.parametrize(
    "words", [("version",), ("help",), ("train", "--help"), ("help", "lora_rank"), ("train", "bad.yaml")]
)
def test_quick_answers_import_nothing_heavy(bad: Path, words: tuple[str, ...]) -> None:
    program = (
        "import json, sys\n"
        "from tunesmith.cli.main import main\n"
        "main(sys.argv[2:])\n"
        "heavy = [name for name in json.loads(sys.argv[1]) if name in sys.modules]\n"
        "print('\\n' + json.dumps(heavy))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(HEAVY), *words],
        capture_output=True, text=True, encoding="utf-8", check=True, cwd=bad.parent,
    )  # fmt: skip
    assert json.loads(done.stdout.splitlines()[-1]) == []


@pytest.mark.skipif(os.name == "nt", reason="reads POSIX process times")
@pytest.mark.parametrize(
    ("words", "seconds"), [(("version",), 0.3), (("train", "--help"), 0.5), (("train", "bad.yaml"), 0.5)]
)
def test_quick_answers_take_little_work(
    tunesmith_command: RunCommand, bad: Path, words: tuple[str, ...], seconds: float
) -> None:
    """Compare the processor's time, the least of five runs, which other work on the machine hardly changes."""
    times = []
    for _ in range(5):
        before = os.times()
        tunesmith_command(*words)
        after = os.times()
        times.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(times) < seconds


@pytest.mark.slow
def test_jobs_keep_the_json_contract(
    tunesmith_command: RunCommand, tmp_path: Path, tiny_llama_folder: Path, tiny_dataset: Path
) -> None:
    """Check, train, resume from the saved file, and export: one object on stdout each, the rest on stderr."""
    keys = ["--model_name_or_path", str(tiny_llama_folder), "--dataset", "tiny", "--dataset_dir", str(tiny_dataset),
            "--output_dir", "out", "--max_steps", "2", "--per_device_train_batch_size", "4"]  # fmt: skip
    checked = tunesmith_command("check", "--json", *keys)
    assert contract(checked)["report"]["rows"] == 24
    assert not (tmp_path / "out").exists()
    trained = tunesmith_command("train", "--json", *keys)
    answer = contract(trained)
    assert answer["steps"] == 2
    assert "training 2/2" in trained.stderr
    again = tunesmith_command("train", "out/tunesmith.yaml", "--json")
    assert again.returncode == 2
    assert contract(again)["error"]["code"] == "training.output_not_empty"
    exported = tunesmith_command(
        "export", "--json", "--model_name_or_path", str(tiny_llama_folder), "--adapter_name_or_path", "out",
        "--export_dir", "merged",
    )  # fmt: skip
    assert contract(exported)["ok"] is True
    assert (tmp_path / "merged" / "config.json").is_file()
