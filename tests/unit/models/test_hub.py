# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Models by hub id: which hub, which revision, which files; what is missing, gated, out of reach. Both are fakes."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import huggingface_hub
import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tunesmith.config.load import load_config
from tunesmith.core.errors import Problem, TunesmithError
from tunesmith.core.hubs import default_hub
from tunesmith.data.sets import find_sets
from tunesmith.models.load import resolve_model

Outcome = Path | Exception


@pytest.fixture(autouse=True)
def no_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USE_MODELSCOPE_HUB", "USE_HF", "USE_OPENMIND_HUB"):
        monkeypatch.delenv(name, raising=False)


class HubError(Exception):
    """Base of ModelScope's errors."""


class NotExistError(HubError):
    """ModelScope's error of an absent model or revision."""


@pytest.fixture
def hubs(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[str, str, dict[str, Any]]]]:
    """Put fakes of both hubs in place that give a folder or raise; the list tells what was asked of them."""

    def place(outcome: Outcome) -> list[tuple[str, str, dict[str, Any]]]:
        asked: list[tuple[str, str, dict[str, Any]]] = []

        def download(hub: str) -> Callable[..., str]:
            def fetch(name: str, **options: Any) -> str:
                asked.append((hub, name, options))
                if isinstance(outcome, Exception):
                    raise outcome
                return str(outcome)

            return fetch

        monkeypatch.setattr(huggingface_hub, "snapshot_download", download("hf"))
        errors = SimpleNamespace(HubError=HubError, NotExistError=NotExistError)
        monkeypatch.setitem(sys.modules, "modelscope", SimpleNamespace(snapshot_download=download("ms")))
        monkeypatch.setitem(sys.modules, "modelscope.hub", SimpleNamespace(errors=errors))
        monkeypatch.setitem(sys.modules, "modelscope.hub.errors", errors)
        return asked

    return place


def refused(name: str = "owner/name", **options: Any) -> Problem:
    with pytest.raises(TunesmithError) as caught:
        resolve_model(name, **options)
    (problem,) = caught.value.problems
    assert problem.message and problem.remedy
    return problem


def http_error(kind: Any) -> Any:
    request = httpx2.Request("GET", "https://hub.invalid/api")
    return kind("no such thing", response=httpx2.Response(404, request=request))


@pytest.mark.parametrize(
    ("switches", "hub"),
    [
        ({}, "hf"),
        ({"USE_MODELSCOPE_HUB": "1"}, "ms"),
        ({"USE_MODELSCOPE_HUB": "True"}, "ms"),
        ({"USE_MODELSCOPE_HUB": "0"}, "hf"),
        ({"USE_MODELSCOPE_HUB": "1", "USE_HF": "1"}, "hf"),
        ({"USE_HF": "1"}, "hf"),
    ],
)
def test_the_environment_names_the_hub(
    switches: dict[str, str], hub: str, monkeypatch: pytest.MonkeyPatch, hubs: Any, tmp_path: Path
) -> None:
    for name, value in switches.items():
        monkeypatch.setenv(name, value)
    asked = hubs(tmp_path)
    assert default_hub() == hub and resolve_model("owner/name") == tmp_path
    assert [entry[:2] for entry in asked] == [(hub, "owner/name")]


def test_an_unread_hub_is_refused_for_models_and_data(
    monkeypatch: pytest.MonkeyPatch, hubs: Any, tmp_path: Path
) -> None:
    monkeypatch.setenv("USE_OPENMIND_HUB", "1")
    asked = hubs(tmp_path)
    assert refused().code == "environment.hub_unsupported"
    with pytest.raises(TunesmithError) as caught:
        find_sets(["owner/set"], "ONLINE", key="dataset")
    assert caught.value.problems[0].code == "environment.hub_unsupported" and not asked
    assert resolve_model(str(tmp_path)) == tmp_path


@pytest.mark.parametrize(
    ("hub", "revision", "expected"),
    [("hf", "main", "main"), ("hf", "v1.0", "v1.0"), ("ms", "main", None), ("ms", "v1.0", "v1.0")],
)
def test_revision_and_cache_are_passed_on(
    hub: str, revision: str, expected: str | None, monkeypatch: pytest.MonkeyPatch, hubs: Any, tmp_path: Path
) -> None:
    monkeypatch.setenv("USE_MODELSCOPE_HUB", "1" if hub == "ms" else "0")
    asked = hubs(tmp_path)
    resolve_model("owner/name", tmp_path / "cache", revision=revision)
    options = asked[0][2]
    assert options["revision"] == expected and Path(options["cache_dir"]) == tmp_path / "cache"
    assert "*.safetensors" in options["allow_patterns"]
    assert not [pattern for pattern in options["allow_patterns"] if pattern.endswith((".bin", ".pt", ".py", ".pkl"))]


@pytest.mark.parametrize(("model_type", "times"), [("llama", 1), ("own_type", 2)])
def test_code_is_fetched_only_where_it_is_needed(model_type: str, times: int, hubs: Any, tmp_path: Path) -> None:
    config = {"model_type": model_type, "auto_map": {"AutoModelForCausalLM": "modeling_x.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    asked = hubs(tmp_path)
    resolve_model("owner/name")
    assert [("*.py" in options["allow_patterns"]) for _, _, options in asked] == [False, True][:times]


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (http_error(GatedRepoError), "model.hub_missing", "gated"),
        (http_error(RepositoryNotFoundError), "model.hub_missing", "no model of that id"),
        (http_error(RevisionNotFoundError), "model.hub_missing", "'v9'"),
        (LocalEntryNotFoundError("Got: ConnectError: refused."), "model.hub_unreachable", "ConnectError: refused)"),
        (httpx2.ProxyError("bad proxy"), "model.hub_unreachable", "bad proxy"),
        (HFValidationError("no id"), "model.path_missing", "no model folder"),
    ],
)
def test_what_hugging_face_answers_is_told(error: Exception, code: str, word: str, hubs: Any) -> None:
    hubs(error)
    problem = refused(revision="v9")
    assert problem.code == code and word in problem.message
    assert problem.where.key == ("model_revision" if "v9" in word else "model_name_or_path")


@pytest.mark.parametrize(
    ("error", "revision", "code"),
    [
        (NotExistError("absent"), "main", "model.hub_missing"),
        (NotExistError("absent"), "v9", "model.hub_missing"),
        (HubError("server"), "main", "model.hub_unreachable"),
        (ConnectionError("no route"), "main", "model.hub_unreachable"),
        (ValueError("offline and not cached"), "main", "model.hub_unreachable"),
    ],
)
def test_what_modelscope_answers_is_told(
    error: Exception, revision: str, code: str, monkeypatch: pytest.MonkeyPatch, hubs: Any
) -> None:
    monkeypatch.setenv("USE_MODELSCOPE_HUB", "1")
    hubs(error)
    problem = refused(revision=revision)
    assert problem.code == code and "owner/name" in problem.message
    assert (problem.where.key == "model_revision") == (revision == "v9")


def test_out_of_reach_modelscopes_cache_is_read(monkeypatch: pytest.MonkeyPatch, hubs: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("USE_MODELSCOPE_HUB", "1")
    hubs(tmp_path)
    asked: list[bool] = []

    def fetch(name: str, *, local_files_only: bool = False, **options: Any) -> str:
        asked.append(local_files_only)
        if not local_files_only:
            raise ConnectionError("no route")
        return str(tmp_path)

    sys.modules["modelscope"].__dict__["snapshot_download"] = fetch
    assert resolve_model("owner/name") == tmp_path and asked == [False, True]


def test_modelscope_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USE_MODELSCOPE_HUB", "1")
    monkeypatch.setitem(sys.modules, "modelscope", None)
    problem = refused()
    assert problem.code == "environment.package_missing" and "tunesmith[modelscope]" in problem.remedy


def test_offline_only_the_cache_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "models--owner--name"
    for commit, branch in (("0" * 40, "main"), ("1" * 40, "v2")):
        snapshot = repository / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / branch).write_text(commit, encoding="utf-8")
    assert resolve_model("owner/name", tmp_path) == repository / "snapshots" / ("0" * 40)
    for revision in ("v2", "1" * 40):
        assert resolve_model("owner/name", tmp_path, revision=revision).name == "1" * 40
    problem = refused("owner/other", cache_dir=tmp_path)
    assert problem.code == "model.hub_unreachable" and "HF_HUB_OFFLINE" in problem.remedy


@pytest.mark.parametrize(("value", "is_taken"), [(True, True), (False, False)])
def test_use_hf_of_ms_swift(value: bool, is_taken: bool) -> None:
    keys = {"model_name_or_path": "owner/name", "dataset": "a.jsonl", "output_dir": "out", "use_hf": value}
    if is_taken:
        assert load_config(keys, command="train").model.model_name_or_path == "owner/name"
        return
    with pytest.raises(TunesmithError) as caught:
        load_config(keys, command="train")
    assert "USE_MODELSCOPE_HUB" in caught.value.problems[0].remedy
