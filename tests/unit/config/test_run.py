# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The resolved configuration: sections, parts, origins, the file it saves, and plugins."""

import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, model_validator

from tunesmith.config.load import load_config
from tunesmith.config.section import Section
from tunesmith.core.errors import TunesmithError

SOUND: dict[str, Any] = {"model_name_or_path": "m", "dataset": "a, b", "output_dir": "o"}


class OddParams(Section):
    """A part for these tests."""

    section: ClassVar[str] = "odd"

    lora_rank: int = Field(4, ge=1, description="Rank.")
    lora_target: tuple[str, ...] = Field(("all",), description="Target.")
    learning_rate: float = Field(1.0, description="Rate.")

    @model_validator(mode="after")
    def _is_odd(self) -> "OddParams":
        if self.lora_rank % 2 == 0 and self.learning_rate < 1:
            raise ValueError("an even rank needs a large rate")
        return self


def test_parts_take_the_set_keys_and_their_own_defaults() -> None:
    config = load_config({**SOUND, "lora_rank": "3", "lora_target": "q_proj,v_proj"}, command="train")
    part = config.part(OddParams)
    assert (part.lora_rank, part.lora_target, part.learning_rate) == (3, ("q_proj", "v_proj"), 1.0)


def test_a_sections_own_rule_is_a_coded_problem() -> None:
    config = load_config({**SOUND, "lora_rank": 2, "learning_rate": 0.1}, command="train")
    with pytest.raises(TunesmithError) as caught:
        config.part(OddParams)
    assert caught.value.problems[0].code == "config.value_invalid"
    assert "an even rank needs a large rate" in caught.value.problems[0].message


def test_sections_are_typed_and_frozen() -> None:
    config = load_config(SOUND, command="train")
    assert config.data.dataset == ("a", "b")
    assert config.run.report_to == ("none",)
    with pytest.raises(ValueError, match="frozen"):
        config.run.seed = 1
    with pytest.raises(TypeError):
        config.flat["seed"] = 1  # type: ignore[index]


def test_the_saved_file_names_origins_and_runs_again(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        "model_name_or_path: m\noutput_dir: o\ndataset: a,b\nwarmup_ratio: 0.1\n"
        "default_system: 'yes: # no'\nlr_scheduler_kwargs: {num_cycles: 2}\nrun_name: '007'\n",
        encoding="utf-8",
    )
    config = load_config(path, command="train", overrides=["seed=1", "resume_from_checkpoint=false"])
    saved = config.to_yaml()
    assert f"warmup_steps: 0.1  # {path}:4, as warmup_ratio" in saved
    assert "seed: 1  # command line" in saved
    again_file = tmp_path / "tunesmith.yaml"
    again_file.write_text(saved, encoding="utf-8")
    again = load_config(again_file, command="train")
    assert dict(again.flat) == dict(config.flat)
    assert again.flat["run_name"] == "007"
    assert again.run.do_train is True


@given(st.text(alphabet=st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), min_size=1))
def test_any_text_survives_being_saved(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    config = load_config({**SOUND, "default_system": text.replace("$", "$$")}, command="train")
    if config.flat["default_system"] is None:
        return
    file = tmp_path_factory.mktemp("saved") / "run.yaml"
    file.write_text(config.to_yaml(), encoding="utf-8")
    assert load_config(file, command="train").flat["default_system"] == text


def test_choices_of_the_program_are_saved_but_not_the_users() -> None:
    config = load_config(SOUND, command="train").with_choices({"packing": True, "seed": 7})
    assert (config.data.packing, config.run.seed) == (True, 7)
    assert not config.is_set("packing")
    assert "# chosen by tunesmith\ndo_train: true\npacking: true\nseed: 7\n" in config.to_yaml()


def test_plugins_bring_their_own_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tunesmith_test_plugin.py").write_text(
        "from typing import ClassVar\n"
        "from pydantic import Field\n"
        "from tunesmith.config.section import Section\n"
        "class Params(Section):\n"
        "    section: ClassVar[str] = 'plugged'\n"
        "    selected_by: ClassVar[dict] = {'stage': ('plugged',)}\n"
        "    plugged_weight: float = Field(0.5, ge=0, description='Weight.')\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    config = load_config(
        {**SOUND, "plugins": "tunesmith_test_plugin", "stage": "plugged", "plugged_weight": "0.25"}, command="train"
    )
    assert (config.run.stage, config.flat["plugged_weight"], config.warnings) == ("plugged", 0.25, ())
    with pytest.raises(TunesmithError, match="plugged_weight"):
        load_config({**SOUND, "plugged_weight": 0.25}, command="train")


def test_a_missing_plugin_is_refused() -> None:
    with pytest.raises(TunesmithError) as caught:
        load_config({**SOUND, "plugins": "no_such_plugin_here"}, command="train")
    assert caught.value.problems[0].code == "config.plugin_missing"
