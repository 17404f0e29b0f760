# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Conversations become rows within the limit as the length policy says; what is lost is said."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.data.encoders.conftest import Encoded, Workbench
from tests.unit.data.encoders.talks import example, records, ref, talk
from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import Conversation, Example, Message, Rendered, Role, TokenRow
from tunesmith.data.encoders.base import LengthPolicy
from tunesmith.templates.base import ChatTemplate, TrainPolicy

LONG = " ".join(f"word{number}" for number in range(120))
Turns = Sequence[tuple[Role, str]]


def exchanges(count: int, *, words: int = 10, system: str = "Be brief.") -> list[tuple[Role, str]]:
    turns: list[tuple[Role, str]] = [("system", system)]
    for number in range(count):
        turns += [("user", f"question {number} {'more ' * words}"), ("assistant", f"answer {number} {'yes ' * words}")]
    return turns


def encode(
    bench: Workbench, turns: Turns, limit: int, length_policy: LengthPolicy, policy: TrainPolicy | None = None
) -> Encoded:
    rules = bench.rules(cutoff_len=limit, length_policy=length_policy, policy=policy or TrainPolicy())
    return bench.encode("supervised", [example("supervised", *turns)], rules)


def whole(bench: Workbench, turns: Turns, policy: TrainPolicy | None = None) -> Rendered:
    assert bench.template is not None
    return bench.template.render(talk(*turns), policy=policy)


def trained(rows: Sequence[TokenRow | Rendered]) -> list[int]:
    return [int(token) for row in rows for token in row.input_ids[row.weights > 0]]


def test_a_row_that_fits_is_the_rendering(bench: Workbench) -> None:
    encoded = encode(bench, exchanges(3), 10_000, "refuse")
    (row,) = encoded.rows
    rendered = whole(bench, exchanges(3))
    assert encoded.outcomes() == [("kept", "", 1)]
    assert np.array_equal(row.input_ids, rendered.input_ids) and np.array_equal(row.weights, rendered.weights)


@pytest.mark.parametrize(
    ("policy", "outcome"),
    [("drop", ("dropped", "too_long", 0)), ("truncate_prompt", ("dropped", "answer_too_long", 0))],
)
def test_a_long_answer_is_never_cut_by_default(
    bench: Workbench, policy: LengthPolicy, outcome: tuple[str, str, int]
) -> None:
    assert encode(bench, [("user", "Tell me."), ("assistant", LONG)], 100, policy).outcomes() == [outcome]


def test_a_long_row_is_refused_with_its_length(bench: Workbench) -> None:
    encoded = encode(bench, exchanges(9), 100, "refuse")
    assert [length for _, length in encoded.notes.too_long] == [len(whole(bench, exchanges(9)).input_ids)]


@pytest.mark.parametrize("limit", [70, 120, 200])
def test_a_conversation_is_split_between_turns(bench: Workbench, limit: int) -> None:
    encoded = encode(bench, exchanges(7), limit, "split")
    assert encoded.outcomes() == [("split", "turn_parts", len(encoded.rows))] and len(encoded.rows) > 1
    assert all(row.num_tokens <= limit for row in encoded.rows)
    assert trained(encoded.rows) == trained([whole(bench, exchanges(7))])
    for row in encoded.rows:
        text = str(bench.tokenizer.decode(row.input_ids))
        assert text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nquestion")
    two = len(whole(bench, exchanges(2)).input_ids)
    assert (encoded.rows[0].num_tokens >= two) == (limit >= two)  # as many exchanges as fit


def test_real_conversations_are_split_without_losing_a_trained_token(bench: Workbench, assets: Path) -> None:
    examples = []
    for row, values in enumerate(records(assets / "datasets" / "sft" / "oasst_zh_history.json")[:150]):
        turns = [turn for asked, answer in values.get("history") or [] for turn in (asked, answer)]
        turns += ["\n".join(filter(None, (values["instruction"], values.get("input")))), values["output"]]
        messages: list[tuple[Role, str]] = [
            (("user", "assistant")[index % 2], text) for index, text in enumerate(turns)
        ]
        examples.append(Example(kind="supervised", source=ref(row), conversation=talk(*messages)))
    parts = bench.encode("supervised", examples, bench.rules(cutoff_len=400, length_policy="split"))
    plain = bench.encode("supervised", examples)
    assert len({reason for _, reason, _ in parts.outcomes()}) >= 3
    for one, (outcome, _, _) in zip(examples, parts.outcomes(), strict=True):
        rows = [row for row in parts.rows if row.source == one.source]
        assert all(row.num_tokens <= 400 for row in rows)
        before = [row for row in plain.rows if row.source == one.source]
        assert trained(rows) == ([] if outcome == "dropped" else trained(before))


def test_a_long_answer_is_continued_behind_its_prompt(bench: Workbench) -> None:
    turns: Turns = [("system", "Be brief."), ("user", "Count."), ("assistant", LONG)]
    encoded = encode(bench, turns, 100, "split")
    rendered = whole(bench, turns)
    first = int(np.argmax(rendered.weights > 0))
    assert encoded.outcomes() == [("split", "answer_parts", len(encoded.rows))]
    assert trained(encoded.rows) == trained([rendered])
    for before, row in zip([None, *encoded.rows], encoded.rows, strict=False):
        assert row.input_ids[:first].tolist() == rendered.input_ids[:first].tolist() and row.num_tokens <= 100
        start = int(np.argmax(row.weights > 0))
        if before is not None:  # some of the answer before it is repeated, untrained
            repeated = row.input_ids[first:start].tolist()
            assert len(repeated) >= 10 and before.input_ids[-len(repeated) :].tolist() == repeated


def test_an_answer_behind_a_long_prompt_is_not_continued(bench: Workbench) -> None:
    encoded = encode(bench, [("user", LONG), ("assistant", LONG)], 300, "split")
    assert encoded.outcomes() == [("dropped", "exchange_too_long", 0)]


def test_only_the_part_with_the_last_answer_is_kept_where_it_alone_is_trained(bench: Workbench) -> None:
    policy = TrainPolicy(mask_history=True)
    early: Turns = [("user", LONG), ("assistant", LONG)]
    for turns in (exchanges(7), [*early, *exchanges(2)[1:]]):
        encoded = encode(bench, turns, 120, "split", policy)
        assert encoded.outcomes() == [("cut", "turns_cut", 1)]
        assert trained(encoded.rows) == trained([whole(bench, turns, policy)])


def test_a_greeting_before_the_first_question_is_trained_once(bench: Workbench) -> None:
    turns: Turns = [("system", "Be brief."), ("assistant", "Hello!"), *exchanges(4)[1:]]
    encoded = encode(bench, turns, 120, "split")
    assert encoded.outcomes() == [("split", "turn_parts", len(encoded.rows))] and len(encoded.rows) > 1
    assert trained(encoded.rows) == trained([whole(bench, turns)])


turn_words = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=4)
policies: st.SearchStrategy[LengthPolicy] = st.sampled_from(["refuse", "drop", "truncate_prompt", "split", "ratio"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(turn_words, policies, st.integers(20, 160), st.booleans())
def test_every_row_has_one_outcome_and_what_is_used_is_whole(
    bench: Workbench, words: list[tuple[int, int]], length_policy: LengthPolicy, limit: int, mask_history: bool
) -> None:
    turns: list[tuple[Role, str]] = []
    for asked, answered in words:
        turns += [("user", "why " * asked), ("assistant", "so " * answered)]
    policy = TrainPolicy(mask_history=mask_history)
    encoded = encode(bench, turns, limit, length_policy, policy)
    rendered = whole(bench, turns, policy)
    assert all(row.num_tokens <= limit for row in encoded.rows)
    if len(rendered.input_ids) <= limit:
        assert encoded.outcomes() == [("kept", "", 1)]
    elif encoded.rows and length_policy != "ratio":
        assert trained(encoded.rows) == trained([rendered])
        assert encoded.outcomes()[0][:2] != ("kept", "")


def infer_seqlen(source_len: int, target_len: int, cutoff_len: int) -> tuple[int, int]:
    """LLaMA-Factory 0.9.5, data/processor/processor_utils.py, line by line."""
    if target_len * 2 < cutoff_len:
        max_target_len = cutoff_len
    elif source_len * 2 < cutoff_len:
        max_target_len = cutoff_len - source_len
    else:
        max_target_len = int(cutoff_len * (target_len / (source_len + target_len)))
    new_target_len = min(max_target_len, target_len)
    max_source_len = max(cutoff_len - new_target_len, 0)
    return min(max_source_len, source_len), new_target_len


def cut_as_llama_factory(rendered: Rendered, limit: int, *, mask_history: bool) -> tuple[list[int], list[int]]:
    """Ids and trained ids by LLaMA-Factory's loop over the pairs of source and target."""
    pairs: list[tuple[list[int], list[int]]] = [([], [])]
    for token, weight in zip(rendered.input_ids.tolist(), rendered.weights.tolist(), strict=True):
        if not weight and pairs[-1][1]:
            pairs.append(([], []))
        pairs[-1][1 if weight else 0].append(token)
    ids: list[int] = []
    labels: list[int] = []
    total = 0
    for index, (source, target) in enumerate(reversed(pairs) if mask_history else pairs):
        if total >= limit:
            break
        source_len, target_len = infer_seqlen(len(source), len(target), limit - total)
        total += source_len + target_len
        piece = source[:source_len] + target[:target_len]
        kept = [] if mask_history and index > 1 else target[:target_len]  # pair 0 is what follows the last answer
        ids, labels = (piece + ids, kept + labels) if mask_history else (ids + piece, labels + kept)
    return ids, labels


@pytest.mark.parametrize("mask_history", [False, True])
@pytest.mark.parametrize("limit", [20, 57, 111, 180])
def test_ratio_is_llama_factorys_rule(bench: Workbench, limit: int, mask_history: bool) -> None:
    turns = [*exchanges(2, words=30), *exchanges(3, words=20)[1:]]
    encoded = encode(bench, turns, limit, "ratio", TrainPolicy(mask_history=mask_history))
    ids, labels = cut_as_llama_factory(whole(bench, turns), limit, mask_history=mask_history)
    (row,) = encoded.rows
    assert row.input_ids.tolist() == ids and len(ids) <= limit
    assert trained([row]) == labels
    answer = trained([whole(bench, turns, TrainPolicy(mask_history=mask_history))])
    assert encoded.outcomes() == [("cut", "ratio_answer" if len(labels) < len(answer) else "ratio_prompt", 1)]


def test_ratio_says_where_it_cut_only_prompts(bench: Workbench) -> None:
    encoded = encode(bench, [("user", LONG), ("assistant", "Yes.")], 100, "ratio")
    assert encoded.outcomes() == [("cut", "ratio_prompt", 1)]
    assert trained(encoded.rows) == trained([whole(bench, [("user", LONG), ("assistant", "Yes.")])])


def test_a_row_whose_answers_ratio_leaves_out_is_dropped(bench: Workbench) -> None:
    turns = exchanges(4)
    conversation = talk(*turns)
    messages = [replace(message, weight=0.0) for message in conversation.messages[:-1]]
    last = Example(
        kind="supervised", source=ref(), conversation=Conversation(messages=(*messages, conversation.messages[-1]))
    )
    encoded = bench.encode("supervised", [last], bench.rules(cutoff_len=60, length_policy="ratio"))
    assert encoded.outcomes() == [("dropped", "ratio_nothing", 0)]


def test_a_row_without_a_trained_token_is_dropped(bench: Workbench) -> None:
    silent = Conversation(messages=(*talk(("user", "a")).messages, Message(role="assistant", content="b", weight=0.0)))
    one = Example(kind="supervised", source=ref(), conversation=silent)
    assert bench.encode("supervised", [one]).outcomes() == [("dropped", "nothing_supervised", 0)]


def sample_every_answer(
    template: ChatTemplate, conversations: Sequence[Conversation], *, policy: TrainPolicy
) -> list[tuple[Rendered, ...] | TunesmithError]:
    """Render every prefix that ends with an answer, and train this answer."""
    policy = replace(policy, mask_history=True)
    samples = []
    for each in conversations:
        ends = [end + 1 for end, message in enumerate(each.messages) if message.role == "assistant"]
        prefixes = [replace(each, messages=each.messages[:end]) for end in ends]
        samples.append(tuple(template.render(prefix, policy=policy) for prefix in prefixes))
    return list(samples)


def test_samples_of_a_conversation_are_rows_of_their_own(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(bench.template), "render_samples", sample_every_answer)
    encoded = encode(bench, exchanges(3), 1000, "truncate_prompt")
    assert encoded.outcomes() == [("split", "samples", 3)]
    assert trained(encoded.rows) == trained([whole(bench, exchanges(3))])
    parts = encode(bench, exchanges(6), 120, "split")
    assert parts.outcomes() == [("split", "turn_parts", 6)] and all(row.num_tokens <= 120 for row in parts.rows)
    assert trained(parts.rows) == trained([whole(bench, exchanges(6))])
    cut = encode(bench, [*exchanges(1), ("user", LONG), ("assistant", "End.")], 120, "truncate_prompt")
    assert cut.outcomes() == [("cut", "prompt_cut", 2)] and all(row.num_tokens <= 120 for row in cut.rows)


def test_the_first_token_is_no_target_where_prompts_are_trained(bench: Workbench) -> None:
    (row,) = encode(bench, exchanges(1), 1000, "refuse", TrainPolicy(train_on_prompt=True)).rows
    assert row.weights[0] == 0 and row.weights[1:].all()
