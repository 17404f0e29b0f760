# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""How answers are grouped into samples."""

from tunesmith.templates.samples import Sample, plan_samples


def test_answers_that_look_alike_share_a_sample() -> None:
    texts = {1: ("q a.", 4), 3: ("q a. q b.", 9), 5: ("q a. q b. q c.", 14)}
    assert plan_samples([1, 3, 5], 6, texts.__getitem__) == [Sample(end=6, answers=(1, 3, 5))]


def test_a_rewritten_answer_ends_a_sample_of_its_own() -> None:
    texts = {1: ("q <t>a.", 7), 3: ("q a. q <t>b.", 12), 5: ("q a. q b. q <t>c.", 17)}
    assert plan_samples([1, 3, 5], 6, texts.__getitem__) == [
        Sample(end=2, answers=(1,)),
        Sample(end=4, answers=(3,)),
        Sample(end=6, answers=(5,)),
    ]


def test_a_chain_of_tool_calls_stays_together() -> None:
    texts = {1: ("q <t>a.", 7), 3: ("q a. q <t>call.", 15), 5: ("q a. q <t>call. result <t>b.", 28)}
    assert plan_samples([1, 3, 5], 6, texts.__getitem__) == [Sample(end=2, answers=(1,)), Sample(end=6, answers=(3, 5))]
