# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Each path of a row with answers is the plain rendering of its conversation; only the answers are trained."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.unit.data.encoders.conftest import Workbench
from tests.unit.data.encoders.talks import example, feedback_rows, paths, preference_pairs, said
from tunesmith.core.types import Conversation, Example, LayoutKind, TokenRow
from tunesmith.data.collate import collate
from tunesmith.data.encoders.base import LengthPolicy
from tunesmith.templates.base import TrainPolicy
from tunesmith.templates.chat import load_template
from tunesmith.templates.tokenizer import load_tokenizer

LONG = " ".join(f"word{number}" for number in range(120))


def plain_paths(bench: Workbench, one: Example) -> list[list[int]]:
    """Render every conversation of a row by itself."""
    assert one.conversation is not None and bench.template is not None
    answers = [one.chosen, *one.rejected] if one.kind == "preference" else [()]
    talks = [replace(one.conversation, messages=(*one.conversation.messages, *answer)) for answer in answers]
    return [bench.template.render(each).input_ids.tolist() for each in talks]


def trained_text(bench: Workbench, row: TokenRow, segment: int) -> str:
    start = sum(row.segment_lengths[:segment])
    span = slice(start, start + row.segment_lengths[segment])
    text = bench.tokenizer.decode(row.input_ids[span][row.weights[span] > 0])
    assert isinstance(text, str)
    return text


def pair(chosen: str, *rejected: str, prompt: str = "Why?") -> Example:
    return example(
        "preference",
        ("system", "Be brief."),
        ("user", "Hello"),
        ("assistant", "Hi."),
        ("user", prompt),
        chosen=(said("assistant", chosen),),
        rejected=tuple((said("assistant", text),) for text in rejected),
    )


def test_a_pair_shares_its_prompt(bench: Workbench) -> None:
    one = pair("Because it is so.", "Because I say so.")
    (row,) = bench.encode("preference", [one]).rows
    assert row.segment_names == ("prompt", "chosen", "rejected") and row.segment_parents == (-1, 0, 0)
    assert paths(row) == plain_paths(bench, one)
    assert trained_text(bench, row, 1) == "Because it is so.<|im_end|>"
    assert trained_text(bench, row, 2) == "Because I say so.<|im_end|>"
    assert trained_text(bench, row, 0) == ""  # the earlier answer is part of the prompt


def test_several_answers_are_ranked_below_one(bench: Workbench) -> None:
    one = pair("Good.", "Bad.", "Worse.", "Worst.")
    (row,) = bench.encode("preference", [one]).rows
    assert row.segment_names == ("prompt", "chosen", "rejected", "rejected", "rejected")
    assert row.segment_parents == (-1, 0, 0, 0, 0) and paths(row) == plain_paths(bench, one)


def test_the_rule_for_history_and_prompts_does_not_touch_answers(bench: Workbench) -> None:
    rules = bench.rules(policy=TrainPolicy(train_on_prompt=True, mask_history=True))
    one = pair("Good.", "Bad.")
    given, plain = bench.encode("preference", [one], rules).rows[0], bench.encode("preference", [one]).rows[0]
    assert np.array_equal(given.weights, plain.weights)


def test_real_pairs_are_their_renderings(bench: Workbench, assets: Path) -> None:
    examples = preference_pairs(assets)[::4]
    encoded = bench.encode("preference", examples)
    assert encoded.outcomes() == [("kept", "", 1)] * len(examples) and len(examples) > 100
    for one, row in zip(examples, encoded.rows, strict=True):
        assert paths(row) == plain_paths(bench, one)


@pytest.mark.parametrize("name", ["qwen3", "llama3_1", "mistral_v3"])
def test_pairs_of_other_templates_are_their_renderings(assets: Path, name: str) -> None:
    folder = assets / "tokenizers" / name
    tokenizer = load_tokenizer(folder)
    bench = Workbench(tokenizer=tokenizer, template=load_template(tokenizer, folder=folder))
    examples = preference_pairs(assets)[::60]
    encoded = bench.encode("preference", examples)
    for one, row in zip(examples, encoded.rows, strict=True):
        assert paths(row) == plain_paths(bench, one)
        assert row.weights[: row.segment_lengths[0]].sum() == 0
        assert row.segment_lengths[0] > 3 and not encoded.notes.bad_rows


def test_real_feedback_is_its_rendering(bench: Workbench, assets: Path) -> None:
    examples = feedback_rows(assets)[::3]
    encoded = bench.encode("feedback", examples)
    assert encoded.outcomes() == [("kept", "", 1)] * len(examples)
    for one, row in zip(examples, encoded.rows, strict=True):
        assert paths(row) == plain_paths(bench, one)
        assert row.segment_names == ("prompt", "answer") and row.label == float(bool(one.label))
        answer = one.conversation.messages[-1].content.strip() if one.conversation else ""
        assert trained_text(bench, row, 1).removesuffix("<|im_end|>").strip() == answer
        assert row.weights[: row.segment_lengths[0]].sum() == 0


def test_a_long_prompt_is_cut_alike(bench: Workbench) -> None:
    one = pair("Short.", "This answer is longer than the other.", prompt=f"Sum up: {LONG} END")
    encoded = bench.encode("preference", [one], bench.rules(cutoff_len=110))
    (row,) = encoded.rows
    whole = bench.encode("preference", [one]).rows[0]
    assert encoded.outcomes() == [("cut", "prompt_cut", 1)]
    assert max(map(len, paths(row))) in range(100, 111)
    assert [trained_text(bench, row, index) for index in (1, 2)] == [trained_text(bench, whole, i) for i in (1, 2)]
    text = bench.tokenizer.decode(row.input_ids[: row.segment_lengths[0]])
    assert "Be brief." in text and "Sum up: word0" in text and "END<|im_end|>" in text


POLICIES: list[tuple[LengthPolicy, str]] = [
    ("drop", "too_long"),
    ("split", "unsplittable"),
    ("truncate_prompt", "answer_too_long"),
]


@pytest.mark.parametrize(("policy", "reason"), POLICIES)
def test_a_pair_with_a_long_answer_is_dropped(bench: Workbench, policy: LengthPolicy, reason: str) -> None:
    encoded = bench.encode("preference", [pair("Yes.", LONG)], bench.rules(cutoff_len=60, length_policy=policy))
    assert encoded.outcomes() == [("dropped", reason, 0)]


def test_a_long_pair_is_refused_once(bench: Workbench) -> None:
    encoded = bench.encode("preference", [pair("Yes.", LONG)], bench.rules(cutoff_len=60, length_policy="refuse"))
    (long,) = encoded.notes.too_long
    assert not encoded.rows and long[1] == max(map(len, plain_paths(bench, pair("Yes.", LONG))))


def test_ratio_cuts_prompt_and_answers_as_llama_factory_does(bench: Workbench) -> None:
    one = pair("Yes.", LONG, prompt=LONG)
    whole = bench.encode("preference", [one]).rows[0]
    encoded = bench.encode("preference", [one], bench.rules(cutoff_len=100, length_policy="ratio"))
    prompt, _, long = whole.segment_lengths
    answer = int(100 * long / (prompt + long))
    assert encoded.outcomes() == [("cut", "ratio_answer", 1)]
    assert paths(encoded.rows[0]) == [
        path[: 100 - answer] + path[prompt:][:answer] for path in paths(whole)
    ]  # the heads are kept


def test_an_answer_without_a_trained_token_is_dropped(bench: Workbench) -> None:
    one = replace(pair("Yes."), rejected=((said("assistant", "No.", weight=0.0),),))
    assert bench.encode("preference", [one]).outcomes() == [("dropped", "nothing_supervised", 0)]


def test_a_conversation_that_is_refused_is_a_bad_row(bench: Workbench) -> None:
    empty = replace(pair("Yes.", "No."), conversation=Conversation(messages=()), chosen=())
    encoded = bench.encode("preference", [pair("Yes.", "No."), empty])
    assert len(encoded.rows) == 1 and [bad.code for bad in encoded.notes.bad_rows] == ["template.conversation_empty"]


@pytest.mark.parametrize("layout", ["packed", "padded"])
def test_batches_hold_pairs_and_labels(bench: Workbench, layout: LayoutKind) -> None:
    rows = bench.encode("preference", [pair("Because it is so.", "No."), pair("Good.", "Bad.", "Worse.")]).rows
    batch = collate(rows, layout=layout, pad_id=0)
    assert batch.segment_names == (*rows[0].segment_names, *rows[1].segment_names)
    for segment in range(len(batch.segment_names)):
        found = batch.target_ids_N[batch.target_segment_N == segment].tolist()
        row, first = (rows[0], 0) if segment < 3 else (rows[1], 3)
        start = sum(row.segment_lengths[: segment - first])
        span = slice(start, start + row.segment_lengths[segment - first])
        assert found == row.input_ids[span][row.weights[span] > 0].tolist()
    feedback = [replace(example("feedback", ("user", "a"), ("assistant", "b")), label=label) for label in (True, False)]
    labels = collate(bench.encode("feedback", feedback).rows, layout=layout, pad_id=0).labels
    assert labels is not None and labels.tolist() == [1.0, 0.0]
