# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Texts with labels, and texts to bring near or keep apart, are rendered whole and each by itself."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.data.encoders.conftest import Workbench
from tests.unit.data.encoders.talks import example, paths, records, ref, said, talk
from tunesmith.core.types import Conversation, Example, LayoutKind
from tunesmith.data.collate import collate
from tunesmith.data.encoders.base import LengthPolicy

LONG = " ".join(f"word{number}" for number in range(120))


def labelled(text: str, label: bool | str | float | None, row: int = 0) -> Example:
    return Example(kind="labelled", source=ref(row), text=text, label=label)


def triplet(anchor: str, positives: list[str], negatives: list[str], row: int = 0) -> Example:
    return Example(
        kind="contrast",
        source=ref(row),
        conversation=talk(("user", anchor)),
        positives=tuple((said("assistant", text),) for text in positives),
        negatives=tuple((said("user", text),) for text in negatives),
    )


def rendered(bench: Workbench, talked: Conversation) -> list[int]:
    assert bench.template is not None
    ids: list[int] = bench.template.render(talked).input_ids.tolist()
    return ids


def plain(bench: Workbench, text: str) -> list[int]:
    ids: list[int] = bench.tokenizer(text)["input_ids"]
    end = bench.tokenizer.eos_token_id
    assert isinstance(end, int)
    return [*ids, end]


def test_real_texts_carry_the_number_of_their_class(bench: Workbench, assets: Path) -> None:
    folder = assets / "datasets" / "classification"
    classes = tuple((folder / "labels.txt").read_text(encoding="utf-8").split())
    rows = records(folder / "thucnews_test.jsonl")[:60]
    examples = [labelled(values["text"], values["label"], row) for row, values in enumerate(rows)]
    encoded = bench.encode("labelled", examples, bench.rules(classes=classes))
    assert [row.label for row in encoded.rows] == [classes.index(values["label"]) for values in rows]
    for values, row in zip(rows, encoded.rows, strict=True):
        assert row.input_ids.tolist() == rendered(bench, talk(("user", values["text"])))
        assert not row.weights.any() and row.segment_names == ("text",)


@pytest.mark.parametrize(("label", "number"), [(3, 3.0), (0.25, 0.25), ("7", 7.0), ("-1.5", -1.5), (True, 1.0)])
def test_numbers_are_labels_as_they_are(bench: Workbench, label: bool | str | float, number: float) -> None:
    one = replace(example("labelled", ("user", "How?"), ("assistant", "So.")), label=label)
    (row,) = bench.encode("labelled", [one]).rows
    assert row.label == number and not row.weights.any()
    assert row.input_ids.tolist() == rendered(bench, talk(("user", "How?"), ("assistant", "So.")))


def test_an_unknown_class_is_a_bad_row(bench: Workbench) -> None:
    encoded = bench.encode("labelled", [labelled("a", "x"), labelled("b", "y"), labelled("c", None)],
                           bench.rules(classes=("x",)))  # fmt: skip
    assert [row.label for row in encoded.rows] == [0.0]
    assert [bad.code for bad in encoded.notes.bad_rows] == ["data.class_unknown"] * 2
    assert "'y'" in encoded.notes.bad_rows[0].message and "x" in encoded.notes.bad_rows[0].message


def test_without_a_template_texts_stand_alone(bare_bench: Workbench) -> None:
    (row,) = bare_bench.encode("labelled", [labelled("A fine day.", 1)]).rows
    assert row.input_ids.tolist() == plain(bare_bench, "A fine day.")
    (row,) = bare_bench.encode("contrast", [triplet("a b", ["c"], ["d e"])]).rows
    assert paths(row) == [plain(bare_bench, text) for text in ("a b", "c", "d e")]


def test_real_triplets_are_roots(bench: Workbench, assets: Path) -> None:
    rows = records(assets / "datasets" / "embedding" / "triplets_train.jsonl")[:60]
    examples = [triplet(each["query"], each["positive"], each["negative"], row) for row, each in enumerate(rows)]
    encoded = bench.encode("contrast", examples)
    for values, row in zip(rows, encoded.rows, strict=True):
        texts = [values["query"], *values["positive"], *values["negative"]]
        assert paths(row) == [rendered(bench, talk(("user", text))) for text in texts]
        assert row.segment_names == ("anchor", *("positive",) * len(values["positive"]),
                                     *("negative",) * len(values["negative"]))  # fmt: skip
        assert row.label is None and not row.weights.any()


def test_real_similarities_are_labels(bench: Workbench, assets: Path) -> None:
    rows = records(assets / "datasets" / "embedding" / "stsb_dev.jsonl")[:40]
    examples = [
        replace(triplet(values["sentence1"], [values["sentence2"]], [], row), label=values["score"])
        for row, values in enumerate(rows)
    ]
    encoded = bench.encode("contrast", examples)
    assert [row.label for row in encoded.rows] == [values["score"] for values in rows]


def test_each_text_is_cut_by_itself(bench: Workbench) -> None:
    one = triplet("short", [LONG], ["short too"])
    encoded = bench.encode("contrast", [one], bench.rules(cutoff_len=80))
    assert encoded.outcomes() == [("cut", "prompt_cut", 1)]
    whole, cut = bench.encode("contrast", [one]).rows[0], encoded.rows[0]
    assert cut.segment_lengths[0] == whole.segment_lengths[0] and cut.segment_lengths[2] == whole.segment_lengths[2]
    assert cut.segment_lengths[1] in range(75, 81)


@pytest.mark.parametrize(("policy", "reason"), [("drop", "too_long"), ("split", "unsplittable")])
def test_a_row_of_which_a_text_is_lost_is_lost(bench: Workbench, policy: LengthPolicy, reason: str) -> None:
    rules = bench.rules(cutoff_len=80, length_policy=policy)
    assert bench.encode("contrast", [triplet("short", ["short"], [LONG])], rules).outcomes() == [("dropped", reason, 0)]
    assert bench.encode("labelled", [labelled(LONG, 1)], rules).outcomes() == [("dropped", reason, 0)]


def test_a_long_text_is_refused_once(bench: Workbench) -> None:
    encoded = bench.encode("contrast", [triplet(LONG, [LONG], [])], bench.rules(cutoff_len=80, length_policy="refuse"))
    assert len(encoded.notes.too_long) == 1 and not encoded.rows


@pytest.mark.parametrize("layout", ["packed", "padded"])
def test_batches_hold_texts_and_labels(bench: Workbench, layout: LayoutKind) -> None:
    rows = bench.encode("labelled", [labelled("a fine day", 2.5), labelled("rain", 1)]).rows
    batch = collate(rows, layout=layout, pad_id=0)
    assert batch.labels is not None and batch.labels.tolist() == [2.5, 1.0] and len(batch.target_ids_N) == 0
    texts = bench.encode("contrast", [triplet("a", ["b"], ["c", "d"])]).rows
    batch = collate(texts, layout=layout, pad_id=0)
    assert batch.segment_names == ("anchor", "positive", "negative", "negative") and batch.labels is None
    width = batch.input_ids_BT.shape[0] if layout == "padded" else len(batch.layout.starts if batch.layout else ())
    assert width == 4  # each text is a sequence of its own
