# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The template keys of a run: which template, which settings, what is trained, and what may be served."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

from tunesmith.config.load import load_config
from tunesmith.config.run import RunConfig
from tunesmith.core.errors import TunesmithError
from tunesmith.core.report import collected_warnings
from tunesmith.core.types import Conversation, Message
from tunesmith.templates.base import TrainPolicy
from tunesmith.templates.jinja_template import FACTS_FILE, TEMPLATE_FILE, JinjaTemplate
from tunesmith.templates.run_template import (
    load_run_template,
    load_served_template,
    policy_of,
    serving_policy_of,
    settings_of,
)
from tunesmith.templates.tokenizer import load_tokenizer


@pytest.fixture(scope="module")
def qwen(assets: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(assets / "tokenizers" / "qwen3")


def config_of(**keys: Any) -> RunConfig:
    return load_config({"model_name_or_path": "somewhere", **keys}, command="chat")


def test_enable_thinking_means_what_it_means_in_llamafactory() -> None:
    assert policy_of(config_of()) == TrainPolicy() and settings_of(config_of()).variables == {}
    on = config_of(enable_thinking=True)
    assert policy_of(on) == TrainPolicy() and settings_of(on).variables == {"enable_thinking": True}
    off = config_of(enable_thinking=False)
    assert policy_of(off) == TrainPolicy(without_reasoning=True)
    assert settings_of(off).variables == {"enable_thinking": False}
    null = config_of(enable_thinking=None)
    assert policy_of(null) == TrainPolicy(reasoning="never_train_injected") and settings_of(null).variables == {}


def test_other_keys_become_policy_and_settings() -> None:
    config = config_of(reasoning_policy="mask_empty", loss_scale="hermes", default_system="x", enable_thinking=False)
    assert policy_of(config) == TrainPolicy(reasoning="mask_empty", loss_scale="hermes", default_system="x")
    assert serving_policy_of(config) == TrainPolicy(default_system="x")
    assert policy_of(config_of(preserve_thinking=True)).reasoning == "keep"
    assert settings_of(config_of(preserve_thinking=True)).variables["preserve_thinking"] is True
    named = settings_of(config_of(agent_template="hermes", special_tokens_in_content="error"))
    assert (named.tool_format, named.special_text) == ("hermes", "error")
    assert policy_of(config_of(disable_ignore_empty_think=False)).reasoning == "mask_empty"
    for key, code in (("tool_format", "tool_format_unknown"), ("loss_scale", "loss_scale_unknown")):
        with pytest.raises(TunesmithError) as caught:
            config = config_of(**{key: "nonsense"})
            settings_of(config), policy_of(config)
        assert caught.value.problems[0].code == f"template.{code}"


def test_a_changed_template_is_not_served(qwen: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    trained = load_run_template(config_of(template="chatml", special_tokens_in_content="allow"), qwen, [])
    assert isinstance(trained, JinjaTemplate)
    trained.save(tmp_path)
    served = load_served_template(config_of(), qwen, [tmp_path])
    assert isinstance(served, JinjaTemplate) and served.fingerprint() == trained.fingerprint()
    assert served.facts.special_text == "allow", "what was trained is served, without being asked for again"
    path = tmp_path / TEMPLATE_FILE
    path.write_text(path.read_text(encoding="utf-8") + "{# edited #}", encoding="utf-8")
    for config in (config_of(), config_of(template="qwen3")):
        with pytest.raises(TunesmithError) as caught:
            load_served_template(config, qwen, [tmp_path])
        assert caught.value.problems[0].code == "template.frozen_differs"
    assert load_served_template(config_of(allow_other_template=True), qwen, [tmp_path]).source.endswith("{# edited #}")
    assert [problem.code for problem in collected_warnings()] == ["template.frozen_differs"]


def test_a_base_model_is_served_with_any_template(qwen: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    (tmp_path / TEMPLATE_FILE).write_text("{{ messages }}", encoding="utf-8")
    assert load_served_template(config_of(template="chatml"), qwen, [tmp_path]).name == "chatml"
    assert [problem.code for problem in collected_warnings()] == ["template.frozen_differs"]


def test_facts_hold_what_decides(qwen: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    template = load_run_template(config_of(template="qwen3", tool_format="qwen3_5"), qwen, [])
    template.save(tmp_path)
    facts = json.loads((tmp_path / FACTS_FILE).read_text(encoding="utf-8"))
    assert facts["tool_format"] == "qwen3_5" and facts["is_tool_format_forced"] and len(facts["source_sha256"]) == 64


@pytest.mark.parametrize("mode", ["escape", "error", "allow"])
def test_special_text_is_escaped_refused_or_taken(qwen: PreTrainedTokenizerBase, mode: str) -> None:
    template = load_run_template(config_of(special_tokens_in_content=mode), qwen, [])
    messages = (Message(role="user", content="Stop at <|im_end|>!"), Message(role="assistant", content="Yes."))
    conversation = Conversation(messages=messages)
    stop = template.stop_ids()[0]
    if mode == "error":
        with pytest.raises(TunesmithError) as caught:
            template.render(conversation)
        assert caught.value.problems[0].code == "template.special_text_found"
        return
    rendered = template.render(conversation)
    assert rendered.input_ids.tolist().count(stop) == (2 if mode == "escape" else 3)
    assert "Stop at <|im_end|>!" in rendered.text
    prompt = template.render(Conversation(messages=messages[:1]), add_generation_prompt=True)
    assert rendered.input_ids[: len(prompt.input_ids)].tolist() == prompt.input_ids.tolist()


def test_variables_reach_the_template_and_travel_with_it(qwen: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    path = tmp_path / "t.jinja"
    path.write_text("{{ mood }}:" + str(qwen.chat_template), encoding="utf-8")
    config = config_of(template=str(path), chat_template_kwargs={"mood": "calm"}, enable_thinking=False)
    trained = load_run_template(config, qwen, [])
    assert settings_of(config).variables == {"mood": "calm", "enable_thinking": False}
    hi = Conversation(messages=(Message(role="user", content="Hi"),))
    assert trained.render(hi, add_generation_prompt=True).text.startswith("calm:<|im_start|>")
    trained.save(tmp_path)
    served = load_served_template(config_of(), qwen, [tmp_path])
    assert served.render(hi, add_generation_prompt=True).text.startswith("calm:<|im_start|>")
    assert served.fingerprint() == trained.fingerprint()


@pytest.mark.parametrize("name", ["enable_thinking", "messages", "day"])
def test_variables_of_keys_and_conversations_are_refused(name: str) -> None:
    value = date(2025, 1, 1) if name == "day" else True
    with pytest.raises(TunesmithError) as caught:
        settings_of(config_of(template_kwargs={name: value}))
    assert caught.value.problems[0].code == "template.variable_invalid"


@pytest.mark.parametrize("name", ["breeze", "chatml", "falcon"])
def test_a_merged_folder_keeps_what_ends_answers(assets: Path, tmp_path: Path, name: str) -> None:
    tokenizer = load_tokenizer(assets / "tokenizers" / "smollm2")
    trained = load_run_template(config_of(template=name), tokenizer, [])
    trained.save(tmp_path)
    # A merged folder's tokenizer has the template as its own.
    tokenizer.chat_template = trained.source
    merged = load_run_template(config_of(), tokenizer, [tmp_path])
    assert merged.fingerprint() == trained.fingerprint()
    turns = (Message(role="user", content="Hi"), Message(role="assistant", content="Ho"))
    assert merged.render(Conversation(messages=turns)).weights[-1] == (1 if name != "chatml" else 0)
