# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Reading of configuration files: values, lines, duplicates, and files that are no configuration."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunesmith.config.index import load_index
from tunesmith.config.load import load_config
from tunesmith.config.source import merge_layers, read_file, read_mapping
from tunesmith.config.words import read_words
from tunesmith.core.errors import TunesmithError


def write(folder: Path, text: str, name: str = "run.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refused(path: Path) -> TunesmithError:
    with pytest.raises(TunesmithError) as caught:
        read_file(path)
    return caught.value


def test_yaml_gives_values_texts_and_lines(tmp_path: Path) -> None:
    read = read_file(
        write(tmp_path, "# a comment\nlearning_rate: 1e-4\n\nrun_name: 007\nlora_target: [q_proj, v_proj]\n")
    )
    rate, name, target = read.entries
    assert (rate.value, rate.line) == (1e-4, 2)
    assert (name.text, name.line) == ("007", 4)
    assert (target.value, target.line) == (["q_proj", "v_proj"], 5)


def test_json_gives_the_same_with_lines(tmp_path: Path) -> None:
    text = '{\n  "stage": "sft", "lora_rank": 16,\n  "lr_scheduler_kwargs": {"a": {"b": [1, "}"]}},\n\n  "seed": 1\n}\n'
    read = read_file(write(tmp_path, text, "run.json"))
    assert [(entry.key, entry.line) for entry in read.entries] == [
        ("stage", 2), ("lora_rank", 2), ("lr_scheduler_kwargs", 3), ("seed", 5),
    ]  # fmt: skip
    assert read.entries[2].value == {"a": {"b": [1, "}"]}}


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [("run.yaml", "seed: 1\nstage: sft\nseed: 2\n", 3), ("run.json", '{"seed": 1,\n"stage": "sft",\n"seed": 2}', 3)],
)
def test_a_key_that_stands_twice_is_a_problem(tmp_path: Path, name: str, text: str, line: int) -> None:
    read = read_file(write(tmp_path, text, name))
    assert [(problem.code, problem.where.key, problem.where.line) for problem in read.problems] == [
        ("config.key_duplicate", "seed", line)
    ]
    assert [entry.value for entry in read.entries] == [1, "sft"]


@pytest.mark.parametrize(
    ("text", "code", "line", "hint"),
    [
        ("", "config.file_empty", None, ""),
        ("# only a comment\n", "config.file_empty", None, ""),
        ("- a\n- b\n", "config.file_malformed", 1, "key: value"),
        ("stage: sft\n  lora_rank: 8\n", "config.file_malformed", 2, "indentation"),
        ("stage: sft\n\tlora_rank: 8\n", "config.file_malformed", 2, "tab"),
        ("<<<<<<< HEAD\nseed: 1\n=======\nseed: 2\n>>>>>>> x\n", "config.file_malformed", 2, "merge-conflict"),
        ("a: 'open\n", "config.file_malformed", 2, ""),
        ("seed: 1\n{{NAME}}: 1\n", "config.file_malformed", 2, "placeholder"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(
    tmp_path: Path, text: str, code: str, line: int | None, hint: str
) -> None:
    problem = refused(write(tmp_path, text)).problems[0]
    assert (problem.code, problem.where.line) == (code, line)
    assert hint in problem.remedy


def test_malformed_json_names_its_line(tmp_path: Path) -> None:
    problem = refused(write(tmp_path, '{"seed": 1,\n "stage" "sft"}', "run.json")).problems[0]
    assert (problem.code, problem.where.line) == ("config.file_malformed", 2)


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path, "seed: 1\n", "lora_sft.yaml")
    problem = refused(tmp_path / "lora_sfr.yaml").problems[0]
    assert problem.code == "config.file_missing"
    assert "lora_sft.yaml" in problem.remedy


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes("run_name: caf\u00e9\n".encode("latin-1"))
    assert refused(path).problems[0].code == "config.file_unreadable"


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("seed: 1\n", encoding="utf-8-sig")
    assert read_file(path).entries[0].key == "seed"


def test_one_unreadable_value_does_not_hide_the_others(tmp_path: Path) -> None:
    read = read_file(write(tmp_path, "seed: 1\nrun_name: !!python/object:os.system x\nmodel: {{MODEL}}\nstage: sft\n"))
    assert [(problem.code, problem.where.line) for problem in read.problems] == [
        ("config.value_invalid", 2), ("config.value_invalid", 3),
    ]  # fmt: skip
    assert [entry.key for entry in read.entries] == ["seed", "stage"]


def test_scalars_that_yaml_cannot_read_stay_text(tmp_path: Path) -> None:
    read = read_file(write(tmp_path, "learning_rate: !!float $RATE\nrun_name: 2024-99-99\n"))
    assert [entry.value for entry in read.entries] == ["$RATE", "2024-99-99"]
    assert not read.problems


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet="ab1:-_[]{}#&*!|>%@`'\",\\ \n\t\u00e9.~?<=$e", max_size=60), st.sampled_from(["yaml", "json"]))
def test_whatever_stands_in_a_file_it_is_read_or_refused(tmp_path: Path, text: str, kind: str) -> None:
    path = write(tmp_path, text, f"run.{kind}")
    try:
        read = read_file(path)
    except TunesmithError as error:
        assert all(problem.code.startswith("config.file_") for problem in error.problems)
    else:
        assert all(entry.line is not None for entry in read.entries)


@pytest.mark.parametrize("kind", ["yaml", "json"])
def test_nesting_without_end_is_refused(tmp_path: Path, kind: str) -> None:
    text = '{"a": ' + "[" * 3000 + "]" * 3000 + "}"
    assert refused(write(tmp_path, text, f"run.{kind}")).problems[0].code == "config.file_malformed"


def test_yaml_merge_keys_yield_to_the_own_keys(tmp_path: Path) -> None:
    read = read_file(write(tmp_path, "kt_config: &base {seed: 1, stage: pt}\n<<: *base\nseed: 2\n"))
    assert {entry.key: entry.value for entry in read.entries}["seed"] == 2
    assert {entry.key: entry.value for entry in read.entries}["stage"] == "pt"
    assert not read.problems


def test_paths_and_tuples_from_python_become_plain_values(tmp_path: Path) -> None:
    read = read_mapping({"output_dir": tmp_path, "dataset": ("a", "b")})
    assert [entry.value for entry in read.entries] == [str(tmp_path), ["a", "b"]]


def test_words_are_read_in_every_form() -> None:
    words = ["learning_rate=1e-4", "--lora-rank", "16", "--bf16", "--do_train", "false", "--dataset=a,b",
             "--enable_thinking", "null",
             "--report_to", "wandb", "tensorboard", "--run_name", "x=y", "lr_scheduler_kwargs.min_lr=1e-6"]  # fmt: skip
    entries = read_words(words, load_index())
    assert {entry.key: entry.value for entry in entries} == {
        "learning_rate": 1e-4, "lora_rank": 16, "bf16": True, "do_train": False, "dataset": "a,b",
        "enable_thinking": None, "report_to": "wandb,tensorboard", "run_name": "x=y",
        "lr_scheduler_kwargs.min_lr": 1e-6,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("default_system=You are: brief", "You are: brief"),
        ("default_system=use # for comments", "use # for comments"),
        ("default_system='quoted: text'", "quoted: text"),
        ("default_system=[a] {b}", "[a] {b}"),
        ("default_system=2024-99-99", "2024-99-99"),
        ("default_system=yes", "yes"),
        ("default_system=", None),
    ],
)
def test_text_on_the_command_line_stays_as_written(word: str, expected: str | None) -> None:
    keys = {"model_name_or_path": "m"}
    assert load_config(keys, command="chat", overrides=[word]).template.default_system == expected


def test_stray_words_are_refused_all_at_once() -> None:
    with pytest.raises(TunesmithError) as caught:
        read_words(["oops", "--seed", "1", "again", "-x"], load_index())
    assert [problem.code for problem in caught.value.problems] == ["cli.word_unknown"] * 3


def test_dotted_words_change_one_field_of_a_mapping() -> None:
    file = read_mapping({"lr_scheduler_kwargs": {"min_lr": 1, "deep": {"a": 1}}}).entries
    words = read_words(["lr_scheduler_kwargs.min_lr=2", "lr_scheduler_kwargs.deep.b=3"], load_index())
    (merged,) = merge_layers([file, words])
    assert merged.value == {"min_lr": 2, "deep": {"a": 1, "b": 3}}
