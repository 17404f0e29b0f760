# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets are found by name, path, folder or inline description; all that is wrong is told at once."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tunesmith.core.errors import ExitCode, Problem, TunesmithError
from tunesmith.core.report import collected_warnings
from tunesmith.data.sets import DataSet, find_sets
from tunesmith.data.sources.hub import HubSet


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.json").write_text("[]", encoding="utf-8")
    (tmp_path / "b.jsonl").write_text("", encoding="utf-8")
    (tmp_path / "many").mkdir()
    for name in ("2.jsonl", "1.jsonl"):
        (tmp_path / "many" / name).write_text("", encoding="utf-8")
    return tmp_path


def find(folder: Path, entries: Mapping[str, Any], *names: str) -> list[DataSet]:
    (folder / "dataset_info.json").write_text(json.dumps(entries), encoding="utf-8")
    return find_sets(names, str(folder), key="dataset")


def refused(folder: Path, entries: Mapping[str, Any], *names: str) -> tuple[Problem, ...]:
    with pytest.raises(TunesmithError) as caught:
        find(folder, entries, *names)
    return caught.value.problems


def test_an_entry_describes_its_set(folder: Path) -> None:
    entry = {
        "file_name": "a.json",
        "formatting": "sharegpt",
        "ranking": True,
        "columns": {"messages": "chat", "system": None},
        "tags": {"user_tag": "user"},
        "num_samples": 5,
        "split": "train[:10%]",
    }
    (found,) = find(folder, {"one": entry}, "one")
    assert found == DataSet(
        name="one",
        files=(folder / "a.json",),
        formatting="sharegpt",
        columns={"messages": "chat", "system": None},
        tags={"user_tag": "user"},
        ranking=True,
        num_samples=5,
        split="train[:10%]",
    )


def test_folders_paths_and_inline_descriptions_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = find(folder, {"all": {"file_name": "many"}}, "all", str(folder / "b.jsonl"), "a.json", "many")
    names = [[file.relative_to(folder).as_posix() for file in found.files] for found in sets]
    assert names == [["many/1.jsonl", "many/2.jsonl"], ["b.jsonl"], ["a.json"], ["many/1.jsonl", "many/2.jsonl"]]
    monkeypatch.chdir(folder)
    (inline,) = find_sets(["x"], {"x": {"file_name": "a.json"}}, key="dataset")
    assert inline.files == (Path("a.json"),)


def test_a_path_needs_no_dataset_info(folder: Path) -> None:
    (found,) = find_sets([str(folder / "a.json")], str(folder / "nowhere"), key="dataset")
    assert found.files == (folder / "a.json",)


def test_everything_wrong_is_told_at_once(folder: Path) -> None:
    entries = {"orders": {"file_name": "a.json"}, "gone": {"file_name": "gone.json"}, "hub": {"om_hub_url": "x/y"}}
    problems = refused(folder, entries, "oders", "gone", "hub", "no.csv", "orders")
    assert [problem.code for problem in problems] == [
        "data.set_unknown",
        "data.file_missing",
        "data.hub_unsupported",
        "data.file_missing",
    ]
    assert "Did you mean 'orders'" in problems[0].remedy
    assert problems[0].where.key == "dataset"


def test_a_missing_dataset_info_is_named(folder: Path) -> None:
    with pytest.raises(TunesmithError) as caught:
        find_sets(["orders"], str(folder), key="eval_dataset")
    assert caught.value.problems[0].code == "data.info_missing"


@pytest.mark.parametrize("text", ["{", "[]", '{"a": }'])
def test_a_malformed_dataset_info_is_refused(folder: Path, text: str) -> None:
    (folder / "dataset_info.json").write_text("\n" + text, encoding="utf-8")
    with pytest.raises(TunesmithError) as caught:
        find_sets(["a"], str(folder), key="dataset")
    problem = caught.value.problems[0]
    assert problem.code == "data.info_malformed"
    assert text == "[]" or problem.where.line == 2


@pytest.mark.parametrize(
    ("entry", "word"),
    [
        ({"file_name": "a.json", "formatting": "sharegtp"}, "Did you mean 'sharegpt'"),
        ({"file_name": "a.json", "ranking": "yes"}, "ranking"),
        ({"file_name": "a.json", "split": "test"}, "split"),
        ({"cloud_file_name": "s3://a/b.json", "split": "test"}, "split"),
        ({"file_name": "a.json", "num_samples": 0}, "num_samples"),
        ({"file_name": "a.json", "columns": {"promt": "x"}}, "Did you mean 'prompt'"),
        ({"file_name": "a.json", "tags": {"user_tags": "x"}}, "Did you mean 'user_tag'"),
        ({"file_name": "a.json", "columns": {"prompt": 1}}, "must be a name"),
        ({"formatting": "alpaca"}, "file_name"),
        ({"hf_hub_url": 5}, "hf_hub_url must be text"),
        ({"hf_hub_url": "a/b", "split": "train+test"}, "split"),
        ({"hf_hub_url": "a/b", "subset": 5}, "subset must be text"),
        ("a.json", "object"),
    ],
)
def test_wrong_entries_are_refused(folder: Path, entry: Any, word: str) -> None:
    (problem,) = refused(folder, {"one": entry}, "one")
    assert problem.code == "data.entry_invalid" and word in problem.message
    assert problem.where.dataset == "one"


def test_an_unknown_key_is_a_warning_and_other_entries_are_not_judged(folder: Path) -> None:
    find(folder, {"one": {"file_name": "a.json", "format": "x"}, "two": 5}, "one")
    assert [problem.code for problem in collected_warnings()] == ["data.entry_key_unknown"]


def test_a_folder_of_mixed_types_is_refused(folder: Path) -> None:
    (folder / "many" / "3.csv").write_text("", encoding="utf-8")
    (problem,) = refused(folder, {"all": {"file_name": "many"}}, "all")
    assert problem.code == "data.folder_unreadable" and "(csv, jsonl)" in problem.message


@pytest.mark.parametrize("dataset_dir", ["ONLINE", "REMOTE:someone/sets"])
def test_hub_folders_need_a_network(dataset_dir: str) -> None:
    with pytest.raises(TunesmithError) as caught:
        find_sets(["a"], dataset_dir, key="dataset")
    assert caught.value.problems[0].code == "data.hub_unreachable"


def test_a_script_is_refused_as_a_matter_of_safety(folder: Path) -> None:
    (problem,) = refused(folder, {"one": {"script_url": "some_script", "file_name": "a.json"}}, "one")
    assert problem.code == "data.script_refused" and "some_script" in problem.message
    assert problem.exit_code is ExitCode.SECURITY


def test_names_carry_a_count_and_a_subset(folder: Path) -> None:
    entry = {"file_name": "a.json", "num_samples": 9, "formatting": "alpaca"}
    one, path, whole = find(folder, {"one": entry}, "one#5", f"{folder / 'b.jsonl'}#7", "many#3")
    assert (one.name, one.num_samples, one.formatting) == ("one#5", 5, "alpaca")
    assert (path.files, path.num_samples) == ((folder / "b.jsonl",), 7)
    assert (len(whole.files), whole.num_samples) == (2, 3)
    (problem,) = refused(folder, {}, "a.json:en")
    assert problem.code == "data.set_name_invalid" and "no subsets" in problem.message


def test_a_file_whose_name_looks_like_a_count_is_that_file(folder: Path) -> None:
    (folder / "b.jsonl#7").mkdir()
    (folder / "b.jsonl#7" / "x.jsonl").write_text("", encoding="utf-8")
    (found,) = find(folder, {}, "b.jsonl#7")
    assert (found.files, found.num_samples) == ((folder / "b.jsonl#7" / "x.jsonl",), None)


def test_the_format_of_sets_without_a_description_can_be_named(folder: Path) -> None:
    (folder / "dataset_info.json").write_text('{"one": {"file_name": "a.json"}}', encoding="utf-8")
    sets = find_sets(["one", "b.jsonl"], str(folder), key="dataset", formatting="openai")
    assert [found.formatting for found in sets] == ["openai", "openai"]
    with pytest.raises(TunesmithError) as caught:
        find_sets(["b.jsonl"], str(folder), key="dataset", formatting="opnai")
    assert caught.value.problems[0].code == "data.format_unknown"


@pytest.mark.parametrize(
    ("entry", "name", "expected"),
    [
        (
            {"hf_hub_url": "org/set", "subset": "en", "split": "test[:10%]", "folder": "d", "file_name": "a.json"},
            "one",
            HubSet(hub="hf", repo="org/set", subset="en", split="test", folder="d"),
        ),
        ({"hf_hub_url": "org/set", "subset": "en"}, "one:de", HubSet(hub="hf", repo="org/set", subset="de")),
        ({"ms_hub_url": "AI/set"}, "one", HubSet(hub="ms", repo="AI/set")),
        ({"hf_hub_url": "org/set", "ms_hub_url": "AI/set"}, "one", HubSet(hub="hf", repo="org/set")),
        ({}, "HF::org/set:en#5", HubSet(hub="hf", repo="org/set", subset="en")),
        ({}, "ms::AI/set", HubSet(hub="ms", repo="AI/set")),
    ],
)
def test_ids_on_hubs_are_fetched(
    folder: Path, monkeypatch: pytest.MonkeyPatch, entry: dict[str, Any], name: str, expected: HubSet
) -> None:
    asked = fetched_by(monkeypatch, folder / "b.jsonl")
    (found,) = find(folder, {"one": entry}, name)
    assert asked == [expected] and found.files == (folder / "b.jsonl",)
    assert found.num_samples == (5 if "#5" in name else None)
    assert found.split == ("train[:10%]" if "split" in entry else "train")


def test_modelscope_is_preferred_where_the_environment_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USE_MODELSCOPE_HUB", "1")
    asked = fetched_by(monkeypatch, folder / "b.jsonl")
    find(folder, {"one": {"hf_hub_url": "org/set", "ms_hub_url": "AI/set"}}, "one")
    find_sets(["AI/other"], "ONLINE", key="dataset")
    assert [(one.hub, one.repo) for one in asked] == [("ms", "AI/set"), ("ms", "AI/other")]


def fetched_by(monkeypatch: pytest.MonkeyPatch, path: Path) -> list[HubSet]:
    """Let every id on a hub lead to one file, and note the ids."""
    asked: list[HubSet] = []

    def fetch(hub_set: HubSet) -> tuple[Path, ...]:
        asked.append(hub_set)
        return (path,)

    monkeypatch.setattr("tunesmith.data.sets.fetch_files", fetch)
    return asked


def test_a_file_in_a_cloud_is_fetched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.data.sets.fetch_cloud_file", lambda url: folder / url.rpartition("/")[2])
    (found,) = find(folder, {"one": {"cloud_file_name": "s3://bucket/b.jsonl"}}, "one")
    assert found.files == (folder / "b.jsonl",)


def test_a_folder_of_folders_is_read_as_a_copy_of_a_hubs_set(folder: Path) -> None:
    for name in ("train", "test"):
        (folder / "copy" / "data").mkdir(parents=True, exist_ok=True)
        (folder / "copy" / "data" / f"{name}-00000.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    (found,) = find(folder, {}, "copy")
    assert found.files == (folder / "copy" / "data" / "train-00000.jsonl",)


def test_an_entry_names_a_split_of_a_copy_of_a_hubs_set(folder: Path) -> None:
    for name in ("dev/a_dev", "test/a_test"):
        (folder / "exam" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "exam" / f"{name}.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    (found,) = find(folder, {"one": {"file_name": "exam", "split": "test[:5]"}}, "one")
    assert (found.files, found.split) == ((folder / "exam/test/a_test.jsonl",), "train[:5]")
    (problem,) = refused(folder, {"one": {"file_name": "exam"}}, "one")
    assert problem.code == "data.hub_set_invalid" and "validation, test" in problem.remedy
    (problem,) = refused(folder, {"one": {"file_name": "many", "split": "test"}}, "one")
    assert problem.code == "data.entry_invalid" and "split is 'test'" in problem.message


def test_a_folder_with_test_files_beside_training_files_is_warned_of(folder: Path) -> None:
    for name in ("train-1.jsonl", "my_test.jsonl", "contest.jsonl"):
        (folder / "many" / name).write_text("", encoding="utf-8")
    find(folder, {}, "many")
    (problem,) = collected_warnings()
    assert problem.code == "data.folder_mixes_splits" and "(my_test.jsonl)" in problem.message
