# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Words of the command line: own options, the file, and keys, in any order people write them."""

from pathlib import Path

import pytest

from tunesmith.cli.options import read_options, split_words
from tunesmith.core.errors import TunesmithError


@pytest.mark.parametrize(
    "words",
    [
        ["run.yaml", "--lora_rank", "8", "seed=1", "--json"],
        ["--json", "run.yaml", "--lora_rank", "8", "seed=1"],
        ["--config", "run.yaml", "--lora_rank", "8", "--json", "seed=1"],
        ["--config=run.yaml", "--json", "--lora_rank", "8", "seed=1"],
    ],
)
def test_file_options_and_keys_come_apart(words: list[str]) -> None:
    options = read_options("train", words)
    assert options.file == Path("run.yaml")
    assert options.words == ("--lora_rank", "8", "seed=1")
    assert options.wants_json


def test_keys_without_a_file() -> None:
    options = read_options("train", ["--model_name_or_path", "m", "--do_train", "--stage", "sft"])
    assert options.file is None
    assert options.words == ("--model_name_or_path", "m", "--do_train", "--stage", "sft")


def test_only_check_knows_config_only() -> None:
    assert read_options("check", ["run.yaml", "--config_only"]).is_config_only
    assert read_options("check", ["run.yaml", "--config-only"]).is_config_only
    with pytest.raises(TunesmithError) as caught:
        read_options("train", ["run.yaml", "--config_only"])
    assert caught.value.problems[0].code == "cli.word_unknown"


def test_words_that_fit_nowhere_are_refused() -> None:
    for verb, words in (
        ("version", ["x"]),
        ("env", ["--fast"]),
        ("train", ["--config"]),
        ("train", ["a.yaml", "b.yaml"]),
    ):
        with pytest.raises(TunesmithError) as caught:
            read_options(verb, words)
        assert caught.value.problems[0].code == "cli.word_unknown"


def test_help_asks_for_no_value() -> None:
    assert read_options("train", ["--help"]).wants_help
    assert split_words(["-h"]) == (["-h"], [])
