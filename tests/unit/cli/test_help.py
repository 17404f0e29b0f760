# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Help texts come from the index: every key of a command, and everything known of one key."""

import pytest

from tunesmith.cli.help import VERBS, overview, topic_json, topic_page, verb_page
from tunesmith.cli.options import RUN_VERBS
from tunesmith.config.index import load_index
from tunesmith.core.errors import TunesmithError


def test_the_overview_names_every_command() -> None:
    assert all(f"  {verb}" in overview() for verb in VERBS)


@pytest.mark.parametrize("verb", RUN_VERBS)
def test_keys_of_tuners_and_losses_are_listed_where_they_matter(verb: str) -> None:
    page = verb_page(verb, load_index())
    for key in ("lora_rank", "oft_rank", "pref_beta", "freeze_trainable_layers"):
        assert (f"  {key} (" in page) == (verb in ("train", "check")), key
    assert "  model_name_or_path (" in page


def test_train_lists_its_keys_by_section_with_defaults() -> None:
    page = verb_page("train", load_index())
    assert "\ndata: " in page
    assert "  cutoff_len (2048)  " in page
    assert "  lora_rank (8)  " in page
    assert "export_dir" not in page


def test_every_key_stands_in_the_help_of_some_command() -> None:
    index = load_index()
    pages = "\n".join(verb_page(verb, index) for verb in ("train", "chat", "export", "check"))
    assert [name for name in index.keys if f"  {name} (" not in pages] == []


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("lora_rank", "finetuning_type: lora"),
        ("--lora-rank", "whole number or text (≥ 1)"),
        ("lr_scheduler_type", "choices   linear, cosine"),
        ("warmup_ratio", "warmup_ratio is an older name of warmup_steps."),
        ("export_quantization_bit", "known, not built yet: it waits for quantised export."),
        ("logging_dir", "TENSORBOARD_LOGGING_DIR"),
        ("val_dataset", "Write eval_dataset"),
        ("stage", "not built yet  ppo"),
        ("config.key_unknown", "exit code 2, config"),
        ("train", "tunesmith train: "),
    ],
)
def test_topics(topic: str, expected: str) -> None:
    assert expected in topic_page(topic, load_index())


def test_an_unknown_topic_suggests_the_nearest() -> None:
    with pytest.raises(TunesmithError) as caught:
        topic_page("lora_rnak", load_index())
    assert "Did you mean 'lora_rank'?" in caught.value.problems[0].remedy


def test_topics_as_data() -> None:
    assert topic_json("lora_rank", load_index())["key"]["default"] == 8


def test_chat_does_not_offer_what_it_refuses() -> None:
    index = load_index()
    assert "--json" not in verb_page("chat", index) and "--json" in verb_page("export", index)
