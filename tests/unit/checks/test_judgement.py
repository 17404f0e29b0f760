# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rules of judgement: the right rows and counts on made sets, and not a word on sound ones."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.checks.judged import (
    Characters,
    answered,
    context_of_examples,
    judged,
    numbered,
    pair,
    plain,
    rows_of,
    source,
    store_of_examples,
)
from tunesmith.checks.context import CheckContext
from tunesmith.checks.judged_rows import JudgedRows, quoted
from tunesmith.checks.judgement import Verdict, judge
from tunesmith.checks.judgement_answers import (
    answers_are_written,
    answers_are_written_for_their_prompt,
    answers_show_both_sides,
    labels_differ,
    prompts_have_one_answer,
)
from tunesmith.checks.judgement_duplicates import rows_are_distinct, rows_differ
from tunesmith.checks.judgement_identifiers import identifiers_come_from_the_prompt
from tunesmith.checks.judgement_pairs import length_tells_nothing, openings_tell_nothing, pairs_differ
from tunesmith.checks.judgement_protected import (
    protected_rows_are_not_nearly_trained,
    protected_rows_are_not_trained,
)
from tunesmith.core.types import Example, Message, RowKind
from tunesmith.data.examples import read_set
from tunesmith.data.sets import find_sets
from tunesmith.data.store import RowsView, build_store

NUM = 40


def words(seed: int, count: int = 30) -> str:
    """Give small words that hardly ever follow each other twice."""
    generator = np.random.default_rng(seed)
    return " ".join("".join(map(chr, generator.integers(97, 123, size=5))) for _ in range(count))


def sound(number: int) -> Example:
    return answered(f"What of {words(number, 12)}?", words(number + 1000))


def sound_rows(changes: dict[int, Example]) -> list[Example]:
    return numbered([changes.get(number, sound(number)) for number in range(NUM)])


def test_exact_repeats_are_counted_from_the_second_on() -> None:
    (found,) = judged(rows_are_distinct, sound_rows({8: sound(3), 9: sound(3), 30: sound(4)}))
    assert (found.where.rows, found.count, found.total) == ((8, 9, 30), 3, NUM)
    assert found.share == 3 / NUM and "3 of 40 training rows (7.5 %)" in found.message
    assert found.quotes[0].startswith("row 8 as row 3 “") and found.quotes[0] in found.message


def test_repeats_between_files_name_both(tmp_path: Path) -> None:
    rows = sound_rows({})
    others = [replace(row, source=source(number, "more")) for number, row in enumerate(rows[:3])]
    found = judged(rows_are_distinct, [*rows, *others])
    assert [(one.where.file, one.where.rows) for one in found] == [("more.jsonl", (0, 1, 2))]
    assert found[0].quotes[0].startswith("row 0 of more.jsonl as row 0 of rows.jsonl “")
    other = replace(answered(f"What of {words(3, 12)}?", "No."), source=source(7, "more"))
    assert "row 3 of rows.jsonl and row 7 of more.jsonl" in judged(prompts_have_one_answer, [*rows, other])[0].quotes[0]


def test_rows_repeated_on_purpose_are_no_repeats() -> None:
    store = store_of_examples(sound_rows({}))
    rows = JudgedRows(RowsView(store, np.array([*range(NUM), 3, 3, 5])), kind="supervised", decode=Characters().decode)
    context = context_of_examples(sound_rows({}))
    assert len(rows) == NUM and not [*rows_are_distinct(context, rows), *rows_differ(context, rows)]


def test_parts_of_one_text_are_one_record() -> None:
    text = plain(words(1), 7)
    store = store_of_examples([plain(words(2), 6), text])
    parts = build_store([store[0], store[1], store[1], store[1]])
    traits = {name: values[[0, 1, 1, 1]] for name, values in store.traits.items()}
    rows = JudgedRows(replace(parts, traits=traits), kind="text", decode=Characters().decode)
    assert len(rows) == 2 and rows.record_of_row().tolist() == [0, 1, 1, 1]
    assert not list(rows_differ(context_of_examples([text]), rows))


def test_near_repeats_are_named_with_what_they_repeat() -> None:
    like = answered(f"What of {words(3, 12)}?", words(1003)[:-1] + "!")
    (found,) = judged(rows_differ, sound_rows({11: like, 12: sound(5)}))  # Row 12 is an exact repeat.
    assert (found.where.rows, found.count) == ((11,), 1)
    assert "similarity 0.8 or more" in found.message and "row 11 as row 3" in found.message
    assert not judged(rows_differ, sound_rows({11: like}), near_duplicate_threshold=0)


def test_one_prompt_with_two_answers() -> None:
    other = answered(f"What of {words(3, 12)}?", "No.")
    (found,) = judged(prompts_have_one_answer, sound_rows({20: other, 25: sound(4)}))
    assert (found.where.rows, found.count) == ((3, 20), 2) and "rows 3 and 20" in found.quotes[0]
    assert "“No.”" in found.message


def test_a_prompt_under_another_system_prompt_is_another_prompt() -> None:
    other = answered(f"What of {words(3, 12)}?", "No.")
    assert other.conversation is not None
    turns = (Message(role="system", content="Say no."), *other.conversation.messages)
    other = replace(other, conversation=replace(other.conversation, messages=turns))
    assert not judged(prompts_have_one_answer, sound_rows({20: other}))


def feedback(number: int, label: bool) -> Example:
    return replace(sound(number), kind="feedback", label=label)


def test_an_answer_with_both_labels_and_labels_that_are_all_equal() -> None:
    mixed = numbered([feedback(number % 38, number % 2 == 0) for number in range(37)] + [feedback(3, True)])
    (found,) = judged(prompts_have_one_answer, mixed)
    assert found.where.rows == (3, 37)
    assert not judged(labels_differ, mixed)
    (found,) = judged(labels_differ, numbered([feedback(number, True) for number in range(9)]))
    assert found.count == 9 and "same label" in found.message


def test_a_pair_that_stands_both_ways() -> None:
    pairs = [pair(words(number, 9), words(number + 50), words(number + 90)) for number in range(30)]
    pairs[12] = pair(words(4, 9), words(94), words(54))
    (found,) = judged(prompts_have_one_answer, numbered(pairs))
    assert found.where.rows == (4, 12)


@pytest.mark.parametrize(
    "mould",
    [
        "The order of {name} holds {count} items and will be sent soon.",
        "{name} 的订单共有 {count} 件商品，将于近期寄出，请您耐心等待。",
    ],
)
def test_answers_from_one_mould_are_quoted(mould: str) -> None:
    made = {n: answered(words(n, 9), mould.format(name=f"Bob{n}", count=n)) for n in (2, 7, 19)}
    (found,) = judged(answers_are_written_for_their_prompt, sound_rows(made))
    assert (found.where.rows, found.count) == ((2, 7, 19), 3)
    assert "have one answer between them" in found.message and "3 rows like “" in found.quotes[0]
    assert not judged(answers_are_written_for_their_prompt, sound_rows({2: made[2], 7: made[7]}))


def test_many_small_moulds_make_boilerplate() -> None:
    rows = [answered(words(n, 9), f"Please note that {words(n // 3 + 2000, 5)} counts {n} times.") for n in range(120)]
    (found,) = judged(answers_are_written_for_their_prompt, numbered(rows))
    assert found.count == 120 and "40 answers between them" in found.message


@pytest.mark.parametrize(
    "labels", [["positive", "negative"], ["The sentiment is positive.", "The sentiment is negative."]]
)
def test_labels_are_no_boilerplate(labels: list[str]) -> None:
    rows = numbered([answered(words(number), labels[number % 2]) for number in range(NUM)])
    assert not judged(answers_are_written_for_their_prompt, rows)
    one = numbered([answered(words(number), "The sentiment of this is clear.") for number in range(NUM)])
    assert rows_of(judged(answers_are_written_for_their_prompt, one)) == list(range(NUM))


def test_structured_answers_and_calls_are_no_boilerplate() -> None:
    rows = [
        answered(words(n), json.dumps([{"entity": words(n + 50, 1), "type": "person", "at": n}])) for n in range(NUM)
    ]
    assert not judged(answers_are_written_for_their_prompt, numbered(rows))


def test_placeholders_are_quoted() -> None:
    made = {
        4: answered("a", "todo"),
        6: answered("b", "Dear {{name}}, thank you."),
        8: answered("c", "[insert answer here]"),
    }
    (found,) = judged(answers_are_written, sound_rows(made))
    assert (found.where.rows, found.count) == ((4, 6, 8), 3) and "row 4 “todo”" in found.message


def test_a_label_may_be_a_word_that_holds_places_elsewhere() -> None:
    rows = numbered([answered(words(number), ["n/a", "person"][number % 2]) for number in range(NUM)])
    assert not judged(answers_are_written, rows)


def test_refusals_without_a_counter_example() -> None:
    declined = {number: answered(words(number), f"I'm sorry, I can't {words(number, 5)}.") for number in range(33)}
    (found,) = judged(answers_show_both_sides, sound_rows(declined))
    assert found.count == 33 and "decline" in found.message
    assert not judged(answers_show_both_sides, sound_rows(dict(list(declined.items())[:20])))


def pairs_of(chosen: list[str], rejected: list[str]) -> list[Example]:
    made = zip(chosen, rejected, strict=True)
    return numbered([pair(words(number, 9), good, bad) for number, (good, bad) in enumerate(made)])


def test_pairs_that_teach_refusing_only() -> None:
    chosen = [f"I'm sorry, no {words(n, 5)}." if n < 25 else words(n) for n in range(30)]
    (found,) = judged(answers_show_both_sides, pairs_of(chosen, [words(n + 70) for n in range(30)]))
    assert found.count == 25 and "prefer declining, and 0 show the opposite" in found.message
    rejected = [words(n + 70) if n < 26 else "I cannot say." for n in range(30)]
    assert not judged(answers_show_both_sides, pairs_of(chosen, rejected))


def test_length_is_told_when_it_tells_the_chosen_answer() -> None:
    longer = pairs_of([words(n, 30) for n in range(30)], [words(n + 70, 20 if n else 40) for n in range(30)])
    (found,) = judged(length_tells_nothing, longer)
    assert found.count == 29 and 0 not in (found.where.rows or ()) and "longer" in found.message
    mixed = pairs_of([words(n, 30) for n in range(30)], [words(n + 70, 20 if n % 5 else 40) for n in range(30)])
    assert not judged(length_tells_nothing, mixed) and not judged(length_tells_nothing, longer[:15])


def test_openings_are_told_when_they_tell_the_side() -> None:
    start = "Certainly! Here is your answer: "
    (found,) = judged(
        openings_tell_nothing, pairs_of([start + words(n) for n in range(30)], [words(n + 70) for n in range(30)])
    )
    assert found.count == 30 and "chosen answer" in found.message and "none of the other side" in found.message
    both = pairs_of([start + words(n) for n in range(30)], [start + words(n + 70) for n in range(30)])
    assert not judged(openings_tell_nothing, both)


def test_pairs_of_one_substance() -> None:
    chosen = [words(n) for n in range(30)]
    rejected = [words(n + 70) for n in range(30)]
    rejected[3], rejected[9] = chosen[3].upper() + "!", chosen[9][:-1]
    (found,) = judged(pairs_differ, pairs_of(chosen, rejected))
    assert (found.where.rows, found.count) == ((3, 9), 2)


def write_lines(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_protected_questions_are_found_word_for_word_and_nearly(tmp_path: Path) -> None:
    asked = [f"What of {words(number, 12)}?" for number in (5, 500, 17)]
    file = write_lines(tmp_path / "exam.jsonl", [{"question": text, "answer": "4"} for text in asked])
    near = asked[2].replace(asked[2][40:46], " other", 1)
    rows = sound_rows(
        {30: answered(f"First read this: {words(300)}. {near} Think well.", "Yes, I will."), 17: sound(99)}
    )
    (exact,) = judged(protected_rows_are_not_trained, rows, protected_dataset=file)
    assert (exact.where.rows, exact.count) == ((5,), 1) and "row 5 as row 0 of" in exact.quotes[0]
    (nearly,) = judged(protected_rows_are_not_nearly_trained, rows, protected_dataset=file)
    assert (nearly.where.rows, nearly.count) == ((30,), 1) and "of row 2 of" in nearly.quotes[0]
    for find in (protected_rows_are_not_trained, protected_rows_are_not_nearly_trained):
        assert not judged(find, sound_rows({5: sound(99), 17: sound(98)}), protected_dataset=file)
        assert not judged(find, rows)


def test_identifiers_must_come_from_the_prompt() -> None:
    made = {
        3: answered("Count the orders in shop_orders.", "SELECT count(*) FROM shop_orders"),
        5: answered("Count the customers.", "SELECT count(*) FROM all_customers, shop_orders"),
    }
    (found,) = judged(identifiers_come_from_the_prompt, sound_rows(made), identifier_pattern=r"[a-z]+_[a-z_]+")
    assert (found.where.rows, found.count) == ((5,), 1) and "row 5 all_customers" in found.message
    assert not judged(identifiers_come_from_the_prompt, sound_rows(made))


def test_a_pattern_that_takes_too_long_is_a_problem_of_the_run() -> None:
    rows = sound_rows({0: answered("a", "a" * 40 + "!")})
    context = context_of_examples(rows, identifier_pattern=r"(a|aa)+$")
    judged_rows = JudgedRows(store_of_examples(rows), kind="supervised", decode=Characters().decode)
    assert not list(identifiers_come_from_the_prompt(context, judged_rows))
    assert [problem.code for problem in context.problems] == ["check.identifier_pattern_slow"]


def test_rows_of_several_files_are_told_file_by_file_and_a_hundred_at_most() -> None:
    many = [replace(sound(n % 7), source=source(n, "a" if n % 2 else "b")) for n in range(400)]
    found = judged(rows_are_distinct, many)
    assert [one.where.dataset for one in found] == ["b", "a"] and sum(one.count for one in found) == 393
    assert all(len(one.where.rows or ()) == 100 for one in found)


def test_quotations_are_short_and_on_one_line() -> None:
    assert quoted("a\n\n b") == "“a b”" and len(quoted("ab " * 100)) < 110 and quoted("ab " * 100).endswith("…”")


def test_all_verdicts_at_once() -> None:
    verdicts = judge(context_of_examples(sound_rows({8: sound(3), 9: answered("a", "todo")})))
    assert [verdict.code for verdict in verdicts] == ["check.answers_placeholder", "check.rows_duplicate"]
    told = verdicts[1].to_json()
    assert (told["count"], told["total"], told["share"], told["where"]["rows"]) == (1, NUM, 1 / NUM, [8])
    assert json.loads(json.dumps(told)) == told and told["quotes"]


SOUND: list[tuple[str, RowKind]] = [
    *(("sft/alpaca_en.json", "supervised"), ("sft/alpaca_zh.json", "supervised")),
    *(("reasoning/gsm8k_train.jsonl", "supervised"), ("reasoning/math_problems.jsonl", "supervised")),
    *(("classification/thucnews_train.jsonl", "labelled"), ("classification/thucnews_train.jsonl", "supervised")),
    *(("ner/ccfbdci_train.jsonl", "supervised"), ("embedding/stsb_train.jsonl", "contrast")),
    *(("preference/dpo_en.json", "preference"), ("preference/dpo_zh.json", "preference")),
    *(("preference/oasst_rm_zh.json", "preference"), ("preference/kto_en.json", "feedback")),
    *(("pretrain/c4_en.jsonl", "text"), ("pretrain/wiki_en.txt", "text"), ("reasoning/gsm8k_test.jsonl", "prompt")),
]


def verdicts_on(file: Path, kind: RowKind, monkeypatch: pytest.MonkeyPatch) -> Iterator[Verdict]:
    examples = read_set(find_sets([str(file)], "data", key="dataset")[0], kind=kind, seed=0).examples
    rows = JudgedRows(store_of_examples(examples), kind=kind, decode=Characters().decode)
    monkeypatch.setattr(CheckContext, "judged", rows)
    yield from judge(context_of_examples(examples[:1]))


@pytest.mark.parametrize(("name", "kind"), SOUND)
def test_sound_sets_draw_no_word(name: str, kind: RowKind, assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not list(verdicts_on(assets / "datasets" / name, kind, monkeypatch))


@pytest.mark.parametrize("name", ["glaive_toolcall_en.json", "glaive_toolcall_zh.json"])
def test_tool_sets_draw_a_word_on_their_repeats_only(name: str, assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifteenth of these rows is there twice, word for word."""
    found = {verdict.code for verdict in verdicts_on(assets / "datasets" / "tools" / name, "supervised", monkeypatch)}
    assert "check.rows_duplicate" in found and found <= {"check.rows_duplicate", "check.rows_near_duplicate"}
