# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""`tunesmith models` finds families by the names that people have, fast, and without the libraries of models."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tunesmith.core.errors import TunesmithError
from tunesmith.jobs.families import find, read_families
from tunesmith.jobs.models import run

FAMILIES = read_families()[1]


@pytest.mark.parametrize(
    ("name", "families", "types"),
    [
        ("qwen", ["Qwen"], None),
        ("ChatGLM", ["GLM / ChatGLM"], None),
        ("gpt-oss", ["gpt-oss"], ["gpt_oss"]),
        ("Kimi", ["Kimi"], None),
        ("gemma4_text", ["Gemma"], ["gemma4_text"]),
        ("Qwen/Qwen3-8B", ["Qwen"], ["qwen3"]),
        ("deepseek_v3", ["DeepSeek", "Kimi"], ["deepseek_v3", "deepseek_v32"]),
        ("yi_coder", ["Yi"], ["llama"]),
    ],
)
def test_names(name: str, families: list[str], types: list[str] | None) -> None:
    found = find(name, FAMILIES)
    assert [family.name for family in found] == families
    assert types is None or [part.type for part in found[0].types] == types


def test_part_of_a_name_gives_all_that_have_it() -> None:
    (family,) = find("qwen3", FAMILIES)
    assert {"qwen3", "qwen3_moe", "qwen3_next"} <= {part.type for part in family.types}
    assert "qwen2" not in {part.type for part in family.types}
    assert "qwen3_coder" in {part.name for part in family.templates}


def test_a_folder_is_looked_into(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "smollm3"}', encoding="utf-8")
    assert [family.name for family in find(str(tmp_path), FAMILIES)] == ["SmolLM"]


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(TunesmithError) as caught:
        find("gptoess", FAMILIES)
    assert caught.value.problems[0].code == "models.family_unknown"
    assert "Did you mean" in caught.value.problems[0].remedy


def test_the_issues_families_are_there_with_what_was_asked() -> None:
    text = run(None)["text"]
    for name in ("LLaMA", "LLaVA", "Mistral", "Qwen", "DeepSeek", "Yi", "Gemma", "GLM", "ChatGLM", "Phi", "InternLM",
                 "Baichuan", "MiniCPM", "Kimi", "gpt-oss"):  # fmt: skip
        assert name in text
    qwen = run("qwen3")["text"]
    for words in ("q_proj", "verified", "tools", "experts", "padded, since models of this type keep a state"):
        assert words in qwen


def test_the_command_prints_one_object_and_loads_no_heavy_library() -> None:
    program = (
        "import sys; from tunesmith.cli.main import main; code = main(['models', 'qwen3', '--json']);"
        "heavy = {'torch', 'transformers', 'peft'} & set(sys.modules); sys.exit(code or str(heavy or '') or 0)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["ok"] and answer["families"][0]["name"] == "Qwen" and "text" not in answer
    assert answer["families"][0]["templates"][0].keys() == {"name", "tools"}
    assert {"torch", "transformers", "peft"} == answer["tried_with"].keys()
