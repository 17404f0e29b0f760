# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The bundled sets are what their generator writes, load as described, and keep their promises."""

import json
import re
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import yaml
from transformers import PreTrainedTokenizerBase

from scripts.make_data.files import WORDS, make_all
from tunesmith.core.types import RowKind
from tunesmith.data.examples import read_set
from tunesmith.data.sets import find_sets
from tunesmith.data.traits import compute_traits
from tunesmith.templates.base import ChatTemplate

SETS: list[tuple[str, RowKind, int]] = [
    ("orders_train", "supervised", 800),
    ("orders_test", "supervised", 100),
    ("identity", "supervised", 67),
    ("preference", "preference", 160),
    ("feedback", "feedback", 160),
    ("plain_text", "text", 80),
]


@pytest.fixture(scope="module")
def orders(repository: Path) -> dict[str, list[dict[str, str]]]:
    paths = {side: repository / "data" / f"orders_{side}.jsonl" for side in ("train", "test")}
    return {side: [json.loads(line) for line in path.open(encoding="utf-8")] for side, path in paths.items()}


def records(rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    return [json.loads(row["output"]) for row in rows]


def test_the_files_are_what_the_generator_writes(repository: Path) -> None:
    stale = [name for name, text in make_all().items() if (repository / "data" / name).read_bytes() != text.encode()]
    assert not stale, f"run: python -m scripts.make_data ({stale})"


@pytest.mark.parametrize(("name", "kind", "num_rows"), SETS)
def test_every_set_loads(repository: Path, name: str, kind: RowKind, num_rows: int) -> None:
    (data_set,) = find_sets([name], str(repository / "data"), key="dataset")
    read = read_set(data_set, kind=kind, seed=0)
    assert (len(read.examples), read.bad_rows, read.problems) == (num_rows, (), ())
    assert len(set(compute_traits(read.examples)["prompt"].tolist())) == num_rows


def test_all_sets_are_tested(repository: Path) -> None:
    info = json.loads((repository / "data" / "dataset_info.json").read_text(encoding="utf-8"))
    assert list(info) == [name for name, _, _ in SETS]


def test_held_out_words_never_occur_in_training(orders: dict[str, list[dict[str, str]]]) -> None:
    seen = "\n".join(row["instruction"] + row["output"] for row in orders["train"]).lower()
    for record in records(orders["test"]):
        names = [*record["customer"].split(), record["city"], *(item["item"] for item in record["items"])]
        assert not [name for name in names if re.search(rf"\b{re.escape(name.lower())}\b", seen)]


def test_every_test_row_has_one_held_out_phrasing(orders: dict[str, list[dict[str, str]]]) -> None:
    words = yaml.safe_load((WORDS / "orders.yaml").read_text(encoding="utf-8"))
    kinds = ("request", "city", "day", "signature")
    frames = [frame for kind in kinds for frame in words["test"][kind]]
    assert not set(frames) & {frame for kind in kinds for frame in words["train"][kind]}
    openings = [re.split(r"[{,]", frame)[0].strip() for frame in frames]
    for side, expected in (("train", 0), ("test", 1)):
        # Two letters of a word may be swapped, so letters are compared, not words.
        found = [sum(_occurs(opening, row["instruction"]) for opening in openings) for row in orders[side]]
        assert set(found) == {expected}


def _occurs(phrase: str, mail: str) -> bool:
    words, length = mail.split(), len(phrase.split())
    spans = (" ".join(words[start : start + length]) for start in range(len(words)))
    return any(sorted(span.strip(",.").lower()) == sorted(phrase.lower()) for span in spans)


def test_records_say_what_the_mails_say(orders: dict[str, list[dict[str, str]]]) -> None:
    for row in orders["train"] + orders["test"]:
        record = json.loads(row["output"])
        assert row["output"] == json.dumps(record, ensure_ascii=False, separators=(",", ":"))
        assert list(record) == ["customer", "city", "items", "day", "shipping"]
        parts = [record["customer"], record["city"], record["shipping"], *(item["item"] for item in record["items"])]
        assert all(part.lower() in row["instruction"].lower() for part in parts)
        assert record["day"] is None or record["day"][:3].lower() in row["instruction"].lower()
        assert 1 <= len(record["items"]) <= 3


def test_orders_are_various(orders: dict[str, list[dict[str, str]]]) -> None:
    train = records(orders["train"])
    assert len({row["instruction"] for row in orders["train"]}) == 800
    assert len({record["city"] for record in train}) > 100
    assert len({item["item"] for record in train for item in record["items"]}) > 150
    assert {record["shipping"] for record in train} == {"express", "standard", "courier", "pickup"}
    assert 0.2 < mean(record["day"] is None for record in train) < 0.4


def test_the_training_set_keeps_its_token_budget(
    repository: Path, tokenizer: PreTrainedTokenizerBase, template: ChatTemplate
) -> None:
    (data_set,) = find_sets(["orders_train"], str(repository / "data"), key="dataset")
    examples = read_set(data_set, kind="supervised", seed=0).examples
    lengths = [len(template.render(e.conversation).input_ids) for e in examples if e.conversation is not None]
    assert 110 <= mean(lengths) <= 132 and max(lengths) <= 200


def test_length_tells_nothing_about_preference(repository: Path) -> None:
    path = repository / "data" / "preference.jsonl"
    rows = [json.loads(line) for line in path.open(encoding="utf-8")]
    lengths = [(len(row["chosen"]), len(row["rejected"])) for row in rows]
    assert 0.45 <= mean(chosen > rejected for chosen, rejected in lengths) <= 0.55
    assert abs(mean(chosen for chosen, _ in lengths) / mean(rejected for _, rejected in lengths) - 1) < 0.03
    assert not {row["chosen"] for row in rows} & {row["rejected"] for row in rows}
    assert len({row["chosen"] for row in rows}) == len(rows)
