# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""`tunesmith inspect` end to end: real sets with tokenizers alone, broken rows, and wrong input."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunCommand
from tunesmith.config.load import load_config
from tunesmith.core.errors import TunesmithError
from tunesmith.core.report import collected_warnings
from tunesmith.jobs.inspect import run


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in the test's folder, which also takes what is prepared."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def smollm2(assets: Path) -> Path:
    """Give a folder that holds a tokenizer and no model."""
    return assets / "tokenizers" / "smollm2"


def inspect(model: Path, dataset: Path, show: Mapping[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    config = load_config({"model_name_or_path": str(model), "dataset": str(dataset), **keys}, command="inspect")
    return run(config, show=show)


def write_sums(path: Path, changes: Mapping[int, Mapping[str, Any]] | None = None) -> Path:
    rows = [{"instruction": f"What is {n} plus {n}?", "output": f"It is {n + n}."} for n in range(20)]
    for row, change in (changes or {}).items():
        rows[row] = dict(change)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def assert_adds_up(found: Mapping[str, Any]) -> None:
    """Every row stands somewhere, and every token in one bin."""
    dropped = sum(reason["count"] for reason in found["dropped"].values())
    assert found["rows_in"] == found["rows_kept"] + dropped
    assert sum(found["length_histogram"]["counts"]) == found["token_rows"]
    assert sum(source["tokens"] for source in found["sources"]) == found["tokens"]
    assert sum(source["supervised_tokens"] for source in found["sources"]) == found["supervised_tokens"]
    assert 0 < found["packing_fill"] <= 1


@pytest.mark.parametrize(
    ("file", "keys", "expected"),
    [
        ("sft/alpaca_en.json", {}, ("alpaca", 599, ["text"])),
        ("pretrain/c4_en.jsonl", {"stage": "pt"}, ("text", 180, ["text"])),
        ("preference/dpo_zh.json", {"stage": "dpo"}, ("sharegpt", 180, ["prompt", "chosen", "rejected"])),
        ("preference/kto_en.json", {"stage": "kto"}, ("openai", 180, ["prompt", "answer"])),
        ("reasoning/gsm8k_test.jsonl", {"stage": "ppo"}, ("alpaca", 300, ["prompt"])),
    ],
)
def test_rows_of_every_stage_are_shown(
    file: str, keys: dict[str, Any], expected: tuple[str, int, list[str]], smollm2: Path, assets: Path
) -> None:
    found = inspect(smollm2, assets / "datasets" / file, max_row_loss=1.0, cutoff_len=4096, **keys)
    name, num_rows, segments = expected
    assert (found["format"], found["rows_in"]) == (name, num_rows)
    assert_adds_up(found)
    assert [segment["name"] for segment in found["shown"][0]["segments"]] == segments
    for row in found["shown"]:
        runs = [run for segment in row["segments"] for run in segment["runs"]]
        states = [state for run in runs for state in [run["state"]] * len(run["tokens"])]
        assert states.count("trained") == row["num_supervised"]
        assert states.count("trained") + states.count("context") == row["num_tokens"]


def test_an_answer_is_what_is_trained(smollm2: Path, tmp_path: Path) -> None:
    found = inspect(smollm2, write_sums(tmp_path / "sums.jsonl"), {"rows": (3,)})
    (row,) = found["shown"]
    (segment,) = row["segments"]
    trained = "".join("".join(run["tokens"]) for run in segment["runs"] if run["state"] == "trained")
    assert trained == "It is 6.<|im_end|>"
    assert segment["runs"][0] == {"state": "context", "special": True, "weight": 0.0, "tokens": ["<|im_start|>"]}


def test_what_is_cut_is_shown_where_it_was(smollm2: Path, tmp_path: Path) -> None:
    words = " ".join(f"word{n}" for n in range(100))
    long_row = {"instruction": f"First {words} last?", "output": "Short."}
    found = inspect(smollm2, write_sums(tmp_path / "sums.jsonl", {4: long_row}), {"rows": (4,)}, cutoff_len=90)
    (row,) = found["shown"]
    assert (row["outcome"], row["num_tokens"] <= 90) == ("cut", True) and row["num_cut"] > 100
    text = "".join("".join(run["tokens"]) for run in row["segments"][0]["runs"] if run["state"] != "context")
    assert "word50" in text and text.endswith("Short.<|im_end|>") and "First" not in text


def test_broken_rows_do_not_hide_the_others(smollm2: Path, tmp_path: Path) -> None:
    changes: dict[int, dict[str, Any]]
    changes = {2: {"instruction": "A", "output": 5}, 6: {"instruction": "B"}, 9: {"instruction": "C", "output": ""}}
    with pytest.raises(TunesmithError) as caught:
        inspect(smollm2, write_sums(tmp_path / "sums.jsonl", changes), {"rows": (2, 3)})
    assert caught.value.exit_code == 3
    rows = {problem.code: problem.where.rows for problem in caught.value.problems}
    assert rows == {"data.type_wrong": (2,), "data.column_missing": (6,), "check.answer_empty": (9,)}
    found = caught.value.result
    assert_adds_up(found)
    assert (found["rows_in"], found["rows_kept"]) == (20, 18)
    assert {reason: one["rows"] for reason, one in found["dropped"].items()} == {
        "data.type_wrong": [2],
        "data.column_missing": [6],
    }
    assert [row["row"] for row in found["shown"]] == [3] and "found a number" in found["not_shown"]["row 2"]
    finding = found["findings"][0]
    assert (finding["code"], finding["count"], finding["share"], finding["severity"]) == (
        "data.type_wrong", 1, 0.05, "refuse"
    )  # fmt: skip
    assert '"output": 5' in finding["samples"][0]["text"] and finding["remedy"]


def test_findings_are_those_of_check_and_their_rows_can_be_seen(smollm2: Path, tmp_path: Path) -> None:
    repeated = {"instruction": "What is 1 plus 1?", "output": "It is 2."}
    sums = write_sums(tmp_path / "sums.jsonl", {7: repeated, 8: repeated})
    found = inspect(smollm2, sums, {"first": 0, "longest": 0, "sample": 0, "finding": "check.rows_duplicate"})
    assert [(one["code"], one["where"]["rows"]) for one in found["findings"]] == [("check.rows_duplicate", [7, 8])]
    assert [(row["row"], row["why"]) for row in found["shown"]] == [
        (7, "check.rows_duplicate"), (8, "check.rows_duplicate")
    ]  # fmt: skip
    assert [problem.code for problem in collected_warnings()] == ["check.rows_duplicate"]
    nothing = inspect(smollm2, sums, {"finding": "check.answer_empty"})
    assert nothing["not_shown"] == {"finding check.answer_empty": "there is no such finding"}


def test_rows_without_a_template_are_counted_and_judged(assets: Path, tmp_path: Path) -> None:
    with pytest.raises(TunesmithError) as caught:
        inspect(assets / "tokenizers" / "gpt2", write_sums(tmp_path / "sums.jsonl", {2: {"instruction": "A"}}))
    codes = [problem.code for problem in caught.value.problems]
    assert codes == ["template.source_missing", "data.column_missing"]
    assert (caught.value.result["rows_in"], caught.value.result["tokens"]) == (20, None)


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"dataset": "gone.jsonl"}, "data.file_missing"),
        ({"dataset": "empty.jsonl"}, "data.set_empty"),
        ({"model_name_or_path": "no/model/here"}, "model.path_missing"),
        ({"model_name_or_path": "."}, "template.tokenizer_missing"),
        ({"stage": "kto"}, "data.kind_wrong"),
    ],
)
def test_wrong_input_is_refused_by_code(keys: dict[str, str], code: str, smollm2: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    words = {"model_name_or_path": str(smollm2), "dataset": str(write_sums(tmp_path / "sums.jsonl")), **keys}
    with pytest.raises(TunesmithError) as caught:
        run(load_config(words, command="inspect"))
    assert code in [problem.code for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("content", "keys", "reason"),
    [
        (b'{"instruction": "a", "output": "b"}\n' * 3, {"stage": "dpo"}, "data.kind_wrong"),
        (b"\xff\n\xff\n\xff\n", {}, "data.encoding_wrong"),
    ],
)
def test_rows_that_are_all_refused_are_counted(
    content: bytes, keys: dict[str, Any], reason: str, smollm2: Path, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)
    with pytest.raises(TunesmithError) as caught:
        inspect(smollm2, tmp_path / "rows.jsonl", **keys)
    found = caught.value.result
    assert [problem.code for problem in caught.value.problems] == [reason]
    assert (found["rows_in"], found["rows_kept"], found["tokens"], found["packing_fill"]) == (3, 0, 0, None)
    assert {name: (one["count"], one["rows"]) for name, one in found["dropped"].items()} == {reason: (3, [0, 1, 2])}


@pytest.mark.slow
def test_the_command_prints_json_and_writes_a_page(tunesmith_command: RunCommand, assets: Path, tmp_path: Path) -> None:
    model = assets / "tokenizers" / "qwen3"
    sums = write_sums(tmp_path / "sums.jsonl", {2: {"instruction": "A", "output": 5}})
    words = ["--dataset", str(sums), "--model_name_or_path", str(model), "--cutoff_len", "512", "--html", "page.html"]
    result = tunesmith_command("inspect", *words, "--sample=3", "--json")
    assert result.returncode == 3, result.stderr
    found = result.json
    assert (found["ok"], found["error"]["code"], found["format"]) == (False, "data.type_wrong", "alpaca")
    assert_adds_up(found)
    assert len(found["shown"]) == 6
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<details") == 6 and "data.type_wrong" in page


@pytest.mark.slow
def test_the_command_prints_text_for_people(tunesmith_command: RunCommand, smollm2: Path, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(
        f"model_name_or_path: {smollm2.as_posix()}\ndataset: {write_sums(tmp_path / 'sums.jsonl').as_posix()}\n"
        "stage: sft\noutput_dir: out\ndeepspeed: ds.json\n",
        encoding="utf-8",
    )
    result = tunesmith_command("inspect", "run.yaml", "--rows", "3")
    assert result.returncode == 0, result.stderr
    assert "⟦It is 6.<|im_end|>⟧" in result.stdout and "Findings\n  none" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], "cli.file_missing"),
        (["--dataset", "a.jsonl"], "config.key_missing"),
        (["--dataset", "a.jsonl", "--frobnicate", "1"], "config.key_unknown"),
        (["--dataset", "a.jsonl", "--rows", "first"], "cli.word_unknown"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_read(
    words: list[str], code: str, tunesmith_command: RunCommand
) -> None:
    result = tunesmith_command("inspect", *words, "--json")
    assert result.returncode == 2
    assert code in [error["code"] for error in result.json["errors"]]
    assert "Traceback" not in result.stderr
