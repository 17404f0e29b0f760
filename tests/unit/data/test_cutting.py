# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Cut prompts fit the limit, keep every trained token and the template's own, and are given up when nothing is left."""

from dataclasses import replace

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

from tunesmith.core.types import Conversation, Message, Rendered, Role
from tunesmith.data.cutting import GAP, Cut, PromptCutter
from tunesmith.templates.base import ChatTemplate, TrainPolicy

LONG = " ".join(f"word{number}" for number in range(120))


def talk(*turns: tuple[Role, str]) -> Conversation:
    return Conversation(messages=tuple(Message(role=role, content=content) for role, content in turns))


def trained(rendered: Rendered) -> list[int]:
    ids: list[int] = rendered.input_ids[rendered.weights > 0].tolist()
    return ids


class Bench:
    """Cuts conversations with one tokenizer and template."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, template: ChatTemplate) -> None:
        self.tokenizer, self.template = tokenizer, template

    def cut(self, conversation: Conversation, limit: int, policy: TrainPolicy = TrainPolicy()) -> tuple[Cut, Rendered]:  # noqa: B008
        whole = self.template.render(conversation, policy=policy)
        assert len(whole.input_ids) > limit
        cutter = PromptCutter(self.tokenizer, limit=limit)
        return cutter.cut(
            conversation, (whole,), lambda shorter: (self.template.render(shorter, policy=policy),)
        ), whole


def only(cut: Cut) -> Rendered:
    """Give the one rendering of a cut."""
    assert cut.renderings is not None and len(cut.renderings) == 1
    return cut.renderings[0]


@pytest.fixture
def bench(tokenizer: PreTrainedTokenizerBase, template: ChatTemplate) -> Bench:
    return Bench(tokenizer, template)


@pytest.mark.parametrize("limit", [60, 100, 200])
def test_a_long_prompt_loses_its_middle(bench: Bench, limit: int) -> None:
    cut, whole = bench.cut(
        talk(("system", "Be brief."), ("user", f"Sum up: {LONG} END"), ("assistant", "Done.")), limit
    )
    assert cut.reason == "prompt_cut"
    assert limit - 5 <= len(only(cut).input_ids) <= limit
    assert trained(only(cut)) == trained(whole)
    text = bench.tokenizer.decode(only(cut).input_ids)
    assert "Be brief." in text and "Sum up: word0" in text and GAP in text and "END<|im_end|>" in text


def test_only_long_messages_are_cut(bench: Bench) -> None:
    turns = talk(("user", "A short question?"), ("assistant", "Yes."), ("user", LONG), ("assistant", "No."))
    cut, whole = bench.cut(turns, 100)
    assert trained(only(cut)) == trained(whole)
    assert "A short question?" in bench.tokenizer.decode(only(cut).input_ids)


def test_untrained_turns_go_first(bench: Bench) -> None:
    turns: list[tuple[Role, str]] = [("system", "Keep me.")]
    for number in range(6):
        turns += [("user", f"question {number} {'more ' * 10}"), ("assistant", f"answer {number}")]
    cut, whole = bench.cut(talk(*turns), 80, TrainPolicy(mask_history=True))
    assert cut.reason == "turns_cut"
    assert trained(only(cut)) == trained(whole)
    text = bench.tokenizer.decode(only(cut).input_ids)
    assert "Keep me." in text and "question 0" not in text and "question 5 more" in text and GAP not in text


def test_an_answer_is_never_cut(bench: Bench) -> None:
    cut, _ = bench.cut(talk(("user", "Tell me."), ("assistant", LONG)), 100)
    assert cut == Cut(renderings=None, reason="answer_too_long")


def test_a_prompt_without_room_is_given_up(bench: Bench) -> None:
    cut, _ = bench.cut(
        talk(("system", LONG), ("user", "Tell me all about it, please, and at once."), ("assistant", "No.")), 100
    )
    assert cut == Cut(renderings=None, reason="prompt_too_long")


def test_trained_prompts_are_not_cut(bench: Bench) -> None:
    cut, _ = bench.cut(talk(("user", LONG), ("assistant", "No.")), 100, TrainPolicy(train_on_prompt=True))
    assert cut.renderings is None and cut.reason == "answer_too_long"


def test_messages_with_a_weight_of_zero_may_go(bench: Bench) -> None:
    turns = talk(("user", "early " * 30), ("assistant", "first"), ("user", "late"), ("assistant", "second"))
    first = replace(turns.messages[1], weight=0.0)
    masked = replace(turns, messages=(turns.messages[0], first, *turns.messages[2:]))
    cut, whole = bench.cut(masked, 50)
    assert cut.reason == "turns_cut"
    assert np.count_nonzero(only(cut).weights) == np.count_nonzero(whole.weights)


def test_a_prompt_is_cut_alike_for_all_its_answers(bench: Bench) -> None:
    prompt = talk(("user", f"Sum up: {LONG} END"))
    answers = [
        (Message(role="assistant", content=text),) for text in ("Done.", "I will not do that, since it is long.")
    ]

    def render(shorter: Conversation) -> tuple[Rendered, ...]:
        paths = [replace(shorter, messages=(*shorter.messages, *answer)) for answer in answers]
        return tuple(bench.template.render(path) for path in paths)

    whole = render(prompt)
    cut = PromptCutter(bench.tokenizer, limit=90).cut(prompt, whole, render)
    assert cut.reason == "prompt_cut" and cut.renderings is not None
    assert max(len(rendered.input_ids) for rendered in cut.renderings) in range(85, 91)
    assert [trained(rendered) for rendered in cut.renderings] == [trained(rendered) for rendered in whole]
    prompts = [rendered.input_ids[rendered.weights == 0].tolist() for rendered in cut.renderings]
    assert prompts[0] == prompts[1]
