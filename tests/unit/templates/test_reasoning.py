# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Reasoning policies: what is rendered of thoughts, what is trained of it, and when a conversation is cut."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

from tests.parity.conversations import vocabulary_for
from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import Conversation, Message, Rendered
from tunesmith.templates.base import TrainPolicy
from tunesmith.templates.chat import load_template
from tunesmith.templates.jinja_template import JinjaTemplate
from tunesmith.templates.tokenizer import load_tokenizer

TALK = Conversation(
    messages=(
        Message(role="user", content="3*4?"),
        Message(role="assistant", content="12", reasoning="3*4=12"),
        Message(role="user", content="+1?"),
        Message(role="assistant", content="13", reasoning="12+1=13"),
    )
)
PLAIN = Conversation(messages=(Message(role="user", content="Hi"), Message(role="assistant", content="Hello.")))


@pytest.fixture(scope="module")
def qwen(assets: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(assets / "tokenizers" / "qwen3")


@pytest.fixture(scope="module")
def template(qwen: PreTrainedTokenizerBase) -> JinjaTemplate:
    loaded = load_template(qwen)
    assert isinstance(loaded, JinjaTemplate)
    return loaded


def spans(template: JinjaTemplate, rendered: Rendered) -> list[str]:
    trained = np.flatnonzero(rendered.weights)
    runs = np.split(trained, np.flatnonzero(np.diff(trained) > 1) + 1)
    return [template.decode(rendered.input_ids[run].tolist()) for run in runs]


def samples(template: JinjaTemplate, conversation: Conversation, policy: TrainPolicy) -> list[list[str]]:
    (result,) = template.render_samples([conversation], policy=policy)
    assert not isinstance(result, TunesmithError)
    return [spans(template, rendered) for rendered in result]


def test_without_a_policy_what_is_rendered_is_trained(template: JinjaTemplate) -> None:
    assert samples(template, TALK, TrainPolicy()) == [["12<|im_end|>", "<think>\n12+1=13\n</think>\n\n13<|im_end|>"]]
    (rendered,) = template.render_many([TALK])
    assert not isinstance(rendered, TunesmithError)
    assert rendered.notes == ("The template does not render the reasoning of message 1.",)


def test_keep_cuts_where_the_template_rewrites(template: JinjaTemplate) -> None:
    kept = samples(template, TALK, TrainPolicy(reasoning="keep"))
    assert kept == [
        ["<think>\n3*4=12\n</think>\n\n12<|im_end|>"],
        ["<think>\n12+1=13\n</think>\n\n13<|im_end|>"],
    ]
    (result,) = template.render_samples([TALK], policy=TrainPolicy(reasoning="keep"))
    assert not isinstance(result, TunesmithError)
    for count, rendered in zip((1, 3), result, strict=True):
        asked = Conversation(messages=TALK.messages[:count])
        prompt = template.render(asked, add_generation_prompt=True)
        assert rendered.input_ids[: len(prompt.input_ids)].tolist() == prompt.input_ids.tolist()
        assert not rendered.weights[: len(prompt.input_ids)].any()


def test_keep_leaves_one_sample_where_nothing_is_rewritten(qwen: PreTrainedTokenizerBase) -> None:
    chatml = load_template(qwen, name="qwen3_nothink")
    assert isinstance(chatml, JinjaTemplate)
    talk = Conversation(messages=tuple(Message(role=m.role, content=m.content) for m in TALK.messages))
    assert samples(chatml, talk, TrainPolicy(reasoning="keep")) == [["12<|im_end|>", "13<|im_end|>"]]


def test_keep_respects_the_other_rules(template: JinjaTemplate) -> None:
    last = samples(template, TALK, TrainPolicy(reasoning="keep", mask_history=True))
    assert last == [["<think>\n12+1=13\n</think>\n\n13<|im_end|>"]]
    with_system = samples(template, TALK, TrainPolicy(reasoning="keep", default_system="Be terse."))
    assert [len(sample) for sample in with_system] == [1, 1]


def test_keep_refuses_a_template_that_drops_thoughts(assets: Path) -> None:
    smollm = load_template(load_tokenizer(assets / "tokenizers" / "smollm2"))
    (result,) = smollm.render_samples([TALK], policy=TrainPolicy(reasoning="keep"))
    assert isinstance(result, TunesmithError)
    assert result.problems[0].code == "template.reasoning_dropped"


def test_strip_history_removes_thoughts_before_the_last_question(template: JinjaTemplate) -> None:
    inline = Conversation(
        messages=(
            TALK.messages[0],
            Message(role="assistant", content="<think>\n3*4=12\n</think>\n\n12"),
            *TALK.messages[2:],
        )
    )
    for talk in (TALK, inline):
        assert samples(template, talk, TrainPolicy(reasoning="strip_history")) == [
            ["12<|im_end|>", "<think>\n12+1=13\n</think>\n\n13<|im_end|>"]
        ]


def test_empty_and_injected_blocks_are_not_trained(template: JinjaTemplate) -> None:
    assert samples(template, PLAIN, TrainPolicy()) == [["<think>\n\n</think>\n\nHello.<|im_end|>"]]
    for policy in (TrainPolicy(reasoning="mask_empty"), TrainPolicy(reasoning="never_train_injected")):
        assert samples(template, PLAIN, policy) == [["Hello.<|im_end|>"]]
        assert samples(template, TALK, policy)[0][1].startswith("<think>\n12+1")
    own = Conversation(messages=(PLAIN.messages[0], Message(role="assistant", content="<think>\n\n</think>\n\nHello.")))
    assert samples(template, own, TrainPolicy(reasoning="never_train_injected"))[0][0].startswith("<think>")
    assert samples(template, own, TrainPolicy(reasoning="mask_empty")) == [["Hello.<|im_end|>"]]


def test_without_reasoning_all_thoughts_go(qwen: PreTrainedTokenizerBase) -> None:
    silent = load_template(qwen, variables={"enable_thinking": False})
    assert isinstance(silent, JinjaTemplate)
    assert samples(silent, TALK, TrainPolicy(without_reasoning=True)) == [["12<|im_end|>", "13<|im_end|>"]]
    rendered = silent.render(TALK, policy=TrainPolicy(without_reasoning=True))
    asked = Conversation(messages=TALK.messages[:3])
    prompt = silent.render(asked, add_generation_prompt=True, policy=TrainPolicy(without_reasoning=True))
    assert rendered.text.startswith(prompt.text) and prompt.text.endswith("<think>\n\n</think>\n\n")


def test_a_prompt_that_opens_the_thoughts_is_not_trained(assets: Path, tmp_path: Path) -> None:
    source = (assets / "chat_templates" / "qwen" / "Qwen3.5-4B.jinja").read_text(encoding="utf-8")
    path = tmp_path / "qwen.jinja"
    path.write_text(source, encoding="utf-8")
    template = load_template(vocabulary_for([source], assets), name=str(path))
    assert isinstance(template, JinjaTemplate)
    ((first,),) = samples(template, PLAIN, TrainPolicy(reasoning="never_train_injected"))
    assert first == "Hello.<|im_end|>"


@pytest.mark.parametrize(
    ("file", "opened", "answer"),
    [
        ("qwen/qwq-32b.2.jinja", "<think>\n", "12+1=13\n</think>\n\n13<|im_end|>"),
        (
            "deepseek/deepseek_r1_distill.jinja",
            "<think>\n",
            "12+1=13\n</think>\n\n13<｜end▁of▁sentence｜>",
        ),
        ("deepseek/deepseek_v3.jinja", "", "<think>\n12+1=13\n</think>\n\n13<｜end▁of▁sentence｜>"),
    ],
)
def test_keep_writes_thoughts_that_a_template_drops_as_the_model_does(
    assets: Path, tmp_path: Path, file: str, opened: str, answer: str
) -> None:
    source = (assets / "chat_templates" / file).read_text(encoding="utf-8")
    path = tmp_path / "family.jinja"
    path.write_text(source, encoding="utf-8")
    template = load_template(vocabulary_for([source], assets), name=str(path))
    assert isinstance(template, JinjaTemplate)
    inline = replace(TALK.messages[3], content="<think>\n12+1=13\n</think>\n\n13", reasoning=None)
    for last in (TALK.messages[3], inline):
        talk = Conversation(messages=(*TALK.messages[:3], last))
        (result,) = template.render_samples([talk], policy=TrainPolicy(reasoning="keep"))
        assert not isinstance(result, TunesmithError)
        assert [spans(template, rendered) for rendered in result] == [
            [answer.replace("12+1=13", "3*4=12").replace("13<", "12<")],
            [answer],
        ]
        for count, rendered in zip((1, 3), result, strict=True):
            prompt = template.render(Conversation(messages=talk.messages[:count]), add_generation_prompt=True)
            assert prompt.text.endswith(opened) and "3*4=12" not in prompt.text
            assert rendered.input_ids[: len(prompt.input_ids)].tolist() == prompt.input_ids.tolist()


def test_keep_trains_answers_without_thoughts_as_they_are_rendered(assets: Path, tmp_path: Path) -> None:
    path = tmp_path / "qwq.jinja"
    source = (assets / "chat_templates" / "qwen" / "qwq-32b.2.jinja").read_text(encoding="utf-8")
    path.write_text(source, encoding="utf-8")
    template = load_template(vocabulary_for([source], assets), name=str(path))
    assert isinstance(template, JinjaTemplate)
    talk = Conversation(messages=(*PLAIN.messages, *TALK.messages[2:]))
    assert samples(template, talk, TrainPolicy(reasoning="keep")) == [
        ["Hello.<|im_end|>"],
        ["12+1=13\n</think>\n\n13<|im_end|>"],
    ]
