# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""LLaMA-Factory's own files and names: every flat file resolves, or names exactly the pending keys it waits for."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tunesmith.config.index import Index, load_index
from tunesmith.config.load import load_config
from tunesmith.config.run import RunConfig
from tunesmith.core.errors import TunesmithError

NUM_FILES = 66
# Counted on purpose: the first only grows, the second only shrinks.
NUM_RESOLVED = 41
REFUSED = {"mixture_of_depths"}  # for good, with the reason
KEYS_OF_LLAMAFACTORY = Path(__file__).with_name("llamafactory_keys.txt")


def flat_files(assets: Path) -> list[Path]:
    """List the flat train, infer, export and preprocess files; v1 has other keys and comes later."""
    folder = assets / "configs" / "llamafactory"
    return [path for path in sorted(folder.rglob("*.yaml")) if path.relative_to(folder).parts[0] not in ("v1", "data")]


def resolve(path: Path) -> RunConfig | set[str]:
    """Resolve a file as `tunesmith check FILE --config_only` does, or give the keys it waits for or is refused."""
    try:
        return load_config(path, command="check")
    except TunesmithError as error:
        assert {problem.code for problem in error.problems} <= {"config.key_pending", "config.key_gone"}, error
        assert all(problem.where.file == str(path) and problem.where.line for problem in error.problems)
        return {problem.where.key or "" for problem in error.problems}


def expected_pending(path: Path, index: Index) -> set[str]:
    """Work out from the tables alone which keys of a file are known and not built yet."""
    keys: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    waiting = set()
    for key, value in keys.items():
        today = index.renamed.get(key, {}).get("to", key).partition(".")[0]
        is_default = today in index.pending and value in (None, *index.pending[today].neutral)
        is_waiting_value = any(
            str(value) == name or (name.endswith("*") and str(value).startswith(name[:-1]))
            for name in index.pending_values.get(today, {})
        )
        if (today in index.pending and not is_default) or is_waiting_value or key in REFUSED:
            waiting.add(key)
    return waiting


def test_every_flat_file_resolves_or_names_what_it_waits_for(assets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = load_index()
    files = flat_files(assets)
    outcomes = {path: resolve(path) for path in files}
    resolved = [path for path, outcome in outcomes.items() if isinstance(outcome, RunConfig)]
    for path, outcome in outcomes.items():
        waiting = expected_pending(path, index)
        assert (set() if isinstance(outcome, RunConfig) else outcome) == waiting, path
    with capsys.disabled():
        num_waiting = len(files) - len(resolved)
        print(f"\nLLaMA-Factory's flat files: {len(resolved)} resolve, {num_waiting} name what they wait for")
    assert (len(files), len(resolved)) == (NUM_FILES, NUM_RESOLVED)


def test_files_that_resolve_draw_no_warnings_and_run_again(assets: Path, tmp_path: Path) -> None:
    for path in flat_files(assets):
        outcome = resolve(path)
        if isinstance(outcome, RunConfig):
            assert outcome.warnings == (), path
            saved = tmp_path / "tunesmith.yaml"
            saved.write_text(outcome.to_yaml(), encoding="utf-8")
            assert dict(load_config(saved, command="check").flat) == dict(outcome.flat), path


def test_no_name_of_llamafactory_is_unknown(assets: Path) -> None:
    index = load_index()
    names = KEYS_OF_LLAMAFACTORY.read_text(encoding="utf-8").split()
    removed = json.loads((assets / "configs" / "removed_keys.json").read_text(encoding="utf-8"))
    for table in ("llamafactory", "transformers_training_arguments"):
        names += removed[table]
    known = {*index.keys, *index.pending, *index.renamed, *index.gone}
    assert sorted(set(names) - known) == []


def test_values_of_removed_llamafactory_names_are_never_dropped_silently(assets: Path) -> None:
    index = load_index()
    removed = json.loads((assets / "configs" / "removed_keys.json").read_text(encoding="utf-8"))
    for name in removed["llamafactory"]:
        assert name in index.renamed or index.gone[name]["remedy"], name


def test_invented_names_of_users_have_a_remedy(assets: Path) -> None:
    text = (assets / "configs" / "README.md").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("- Never valid"))
    names = [part for part in line.split("`")[1::2] if "=" not in part and part.islower()]
    assert len(names) >= 9
    for name in names:
        assert load_index().foreign[name], name


def test_command_lines_of_llamafactory_resolve(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (assets / "configs" / "llamafactory_commands.jsonl").read_text(encoding="utf-8").splitlines()
    monkeypatch.setenv("MODEL_PATH", "models/m")
    num_flags = 0
    for line in lines:
        command = json.loads(line)
        argv = command["argv"]
        if argv[:2] == ["llamafactory-cli", "train"] and argv[2:3] and argv[2].startswith("--"):
            num_flags += 1
            config = load_config({}, command="train", overrides=argv[2:])
            assert config.run.stage == "sft"
            assert config.model.model_name_or_path == "models/m"
    assert num_flags >= 1
