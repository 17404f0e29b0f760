# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""ms-swift's weights of turns and of parts of answers."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import Conversation, Message, ToolCall
from tunesmith.templates.base import TrainPolicy
from tunesmith.templates.chat import load_template
from tunesmith.templates.jinja_template import JinjaTemplate
from tunesmith.templates.loss_scale import read_loss_scale
from tunesmith.templates.tokenizer import load_tokenizer

REACT = "Thought: look\nAction: search\nAction Input: {}\nObservation: rain\nFinal Answer: wet"


@pytest.fixture(scope="module")
def smollm(assets: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(assets / "tokenizers" / "smollm2")


def weighed(
    tokenizer: PreTrainedTokenizerBase, messages: tuple[Message, ...], policy: TrainPolicy
) -> list[tuple[str, float]]:
    """Join neighbouring tokens of equal weight, without those that are not trained."""
    template = load_template(tokenizer)
    assert isinstance(template, JinjaTemplate)
    rendered = template.render(Conversation(messages=messages), policy=policy)
    edges = [0, *(np.flatnonzero(np.diff(rendered.weights)) + 1), len(rendered.input_ids)]
    runs = [
        (template.decode(rendered.input_ids[start:end].tolist()), float(rendered.weights[start]))
        for start, end in pairwise(edges)
    ]
    return [(text, weight) for text, weight in runs if weight]


def chat(*texts: str) -> tuple[Message, ...]:
    return tuple(Message(role="assistant" if number % 2 else "user", content=text) for number, text in enumerate(texts))


def test_react_weighs_actions_and_leaves_observations_out(smollm: PreTrainedTokenizerBase) -> None:
    runs = weighed(smollm, chat("?", REACT), TrainPolicy(loss_scale="react"))
    assert runs == [
        ("Thought: look\n", 1.0),
        ("Action: search\nAction Input: {}\nObservation:", 2.0),
        ("Final Answer: wet<|im_end|>", 1.0),
    ]


def test_hermes_weighs_calls(assets: Path) -> None:
    tokenizer = load_tokenizer(assets / "tokenizers" / "qwen3")
    call = ToolCall(name="f", arguments={"a": 1})
    messages = (Message(role="user", content="?"), Message(role="assistant", content="Well", tool_calls=(call,)))
    runs = weighed(tokenizer, messages, TrainPolicy(loss_scale="hermes+ignore_empty_think"))
    assert [weight for _, weight in runs] == [1.0, 2.0, 1.0]
    assert runs[1][0].startswith("<tool_call>") and runs[1][0].endswith("</tool_call>")
    assert runs[0][0].startswith("Well"), "the empty block that the template writes is not trained"


def test_a_round_is_what_follows_the_last_question(smollm: PreTrainedTokenizerBase) -> None:
    messages = (*chat("a", "one", "b", "two"), Message(role="assistant", content="more"))
    runs = weighed(smollm, messages, TrainPolicy(loss_scale="last_round"))
    assert [text for text, _ in runs] == ["two<|im_end|>", "more<|im_end|>"]
    runs = weighed(smollm, messages, TrainPolicy(mask_history=True))
    assert [text for text, _ in runs] == ["more<|im_end|>"]
    (everything,) = weighed(smollm, messages, TrainPolicy(loss_scale="all"))
    assert everything[0].startswith("<|im_start|>system")


def test_questions_weigh_whole_answers(smollm: PreTrainedTokenizerBase) -> None:
    asked = "What is the tool you want to use?"
    runs = weighed(smollm, chat(asked, "search", "Hi", "Hello"), TrainPolicy(loss_scale="agentflan"))
    assert runs == [("search", 3.0), ("<|im_end|>", 1.0), ("Hello<|im_end|>", 1.0)]


def test_a_weight_of_its_own_stands_above_the_rules(smollm: PreTrainedTokenizerBase) -> None:
    first, *rest = chat("?", REACT, "?", REACT)
    messages = (first, Message(role="assistant", content=REACT, weight=0.5), *rest[1:])
    runs = weighed(smollm, messages, TrainPolicy(loss_scale="react"))
    assert runs[0] == (REACT + "<|im_end|>", 0.5) and runs[2][1] == 2.0
    masked = (first, Message(role="assistant", content=REACT, weight=0.0), *rest[1:])
    assert len(weighed(smollm, masked, TrainPolicy(loss_scale="react"))) == 3


def test_unknown_rules_are_refused_with_the_nearest() -> None:
    assert read_loss_scale("last_round_with_ignore_empty_think").base == "last_round"
    with pytest.raises(TunesmithError) as caught:
        read_loss_scale("last_round+hermess")
    problem = caught.value.problems[0]
    assert problem.code == "template.loss_scale_unknown" and "'hermes'" in problem.message
