# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A stream restored at any micro-batch gives the rest that would have come, token for token, and counts it alike."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunesmith.core.errors import TunesmithError
from tunesmith.core.types import TokenRow
from tunesmith.data.encoders.base import EncodeRules
from tunesmith.data.mixing import MixRules
from tunesmith.data.plan import PlanRules
from tunesmith.data.recognition import Reading, choose_reading
from tunesmith.data.sets import DataSet
from tunesmith.data.stream import TrainStream
from tunesmith.data.stream_parts import StreamRecipe
from tunesmith.data.stream_windows import WindowRules
from tunesmith.templates.base import TrainPolicy
from tunesmith.templates.tokenizer import load_tokenizer
from tunesmith.training.stream_batches import StreamedBatches

MakeStream = Callable[..., TrainStream]
NUM_BATCHES = 60


@pytest.fixture(scope="module")
def rules(assets: Path) -> EncodeRules:
    """Give the rules for plain texts, split into rows of 12 tokens."""
    tokenizer = load_tokenizer(assets / "tokenizers" / "smollm2")
    return EncodeRules(tokenizer=tokenizer, template=None, policy=TrainPolicy(), cutoff_len=12, length_policy="split")


@pytest.fixture
def make_stream(tmp_path: Path, rules: EncodeRules) -> MakeStream:
    """Give a function that makes a stream of two sets of numbered texts, 40 and 13, some of several rows."""

    def make(texts: list[Any] | None = None, **options: Any) -> TrainStream:
        sets, readings = [], []
        for name, count in (("a", 40), ("b", 13)):
            made = [" ".join(f"{name}{n}.{part}" for part in range(1 + n % 9)) for n in range(count)]
            values = texts if texts is not None and name == "a" else made
            path = tmp_path / f"{name}.jsonl"
            path.write_text("".join(json.dumps({"text": value}) + "\n" for value in values), encoding="utf-8")
            sets.append(DataSet(name=name, files=(path,)))
            reading = choose_reading(sets[-1], [{"text": "x"}])
            assert isinstance(reading, Reading)
            readings.append(reading)
        recipe = StreamRecipe(
            sets=tuple(sets),
            readings=tuple(readings),
            kind="text",
            rules=rules,
            windows=WindowRules(size=20, mix=MixRules(strategy="interleave_once", weights=(0.7, 0.3), seed=5)),
            part_rows=8,
        )
        recipe = replace(recipe, **options.pop("recipe", {}))
        settings = {"max_row_loss": 0.001, "may_drop_broken": False, "looks_ahead": False, **options}
        return TrainStream(recipe=recipe, **settings)

    return make


def plan(**changes: Any) -> PlanRules:
    return PlanRules(**{"seed": 2, "batch_rows": 2, "gradient_accumulation_steps": 2, **changes})


def tokens(rows: list[TokenRow]) -> list[tuple[str, int, list[int]]]:
    return [(row.source.dataset, row.source.row, row.input_ids.tolist()) for row in rows]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stop=st.integers(0, 50), pack_tokens=st.sampled_from([None, 30]), batch_rows=st.sampled_from([1, 2, 9]))
def test_a_restored_stream_goes_on_exactly(
    make_stream: MakeStream, stop: int, pack_tokens: int | None, batch_rows: int
) -> None:
    rules = plan(pack_tokens=pack_tokens, batch_rows=batch_rows)
    straight = StreamedBatches(make_stream(), rules, num_batches=NUM_BATCHES)
    for number in range(stop):
        straight[number]
    position = json.loads(json.dumps(straight.position()))
    resumed_stream = make_stream()
    resumed = StreamedBatches(resumed_stream, rules, num_batches=NUM_BATCHES)
    resumed.restore(position)
    for number in range(stop, stop + 10):
        assert tokens(straight[number]) == tokens(resumed[number])
        assert straight.position() == resumed.position()


@pytest.mark.parametrize("looks_ahead", [False, True])
def test_an_epoch_has_every_row_once(make_stream: MakeStream, looks_ahead: bool) -> None:
    stream = make_stream(looks_ahead=looks_ahead)
    batches = StreamedBatches(stream, plan(pack_tokens=24), num_batches=200)
    seen: list[tuple[str, int, list[int]]] = []
    number = 0
    while (batches.position()["window"] or {}).get("epoch", 0) == 0:
        epoch = list(seen)
        seen += tokens(batches[number])
        number += 1
    batches.close()
    records = {(name, row) for name, row, _ in epoch}
    assert records == {("a", row) for row in range(40)} | {("b", row) for row in range(13)}
    assert len({(name, row, tuple(ids)) for name, row, ids in epoch}) == len(epoch) > 53
    assert (number - 1) % 2 == 0, "an epoch ends with a whole step"


def test_ranks_share_the_rows_of_each_step(make_stream: MakeStream) -> None:
    alone = StreamedBatches(make_stream(), plan(batch_rows=4), num_batches=NUM_BATCHES)
    ranks = [
        StreamedBatches(make_stream(), plan(batch_rows=2, world_size=2), num_batches=NUM_BATCHES, rank=rank)
        for rank in (0, 1)
    ]
    for step in range(8):
        numbers = (2 * step, 2 * step + 1)
        together = [row for one in ranks for number in numbers for row in tokens(one[number])]
        assert sorted(together) == sorted(row for number in numbers for row in tokens(alone[number]))
    assert ranks[0].position() == ranks[1].position()


def test_a_broken_row_stops_the_stream_or_is_counted(make_stream: MakeStream) -> None:
    texts = [f"text {n}" for n in range(39)] + [None]
    strict = StreamedBatches(make_stream(texts, recipe={"windows": WindowRules(size=64)}), plan(), num_batches=99)
    with pytest.raises(TunesmithError) as caught:
        for number in range(99):
            strict[number]
    (problem,) = caught.value.problems
    assert (problem.code, problem.where.rows) == ("data.value_missing", (39,))
    tolerant = make_stream(texts, may_drop_broken=True, max_row_loss=0.01)
    batches = StreamedBatches(tolerant, plan(), num_batches=200)
    while (batches.position()["window"] or {}).get("epoch", 0) == 0:
        batches[batches.position()["micro_batches"]]
    (lost,) = [one for one in tolerant.ledger.to_json()["reasons"] if one["outcome"] == "dropped"]
    assert (lost["reason"], lost["count"], lost["rows"]) == ("data.value_missing", 1, [39])


def test_more_lost_rows_than_allowed_stop_the_stream(make_stream: MakeStream) -> None:
    texts = [f"text {n}" if n % 2 else "" for n in range(40)]
    batches = StreamedBatches(make_stream(texts, max_row_loss=0.0), plan(), num_batches=99)
    with pytest.raises(TunesmithError, match="rows would be lost"):
        for number in range(99):
            batches[number]


def test_the_loader_skips_without_reading(make_stream: MakeStream) -> None:
    batches = StreamedBatches(make_stream(), plan(), num_batches=10**6)
    loader = batches.loader(layout="packed", pad_id=0)
    assert len(loader) == 10**6
    first = next(iter(loader))["batch"]
    assert first.num_tokens == sum(row.num_tokens for row in StreamedBatches(make_stream(), plan(), num_batches=1)[0])
    assert batches.position()["micro_batches"] == 1


def test_resuming_at_a_million_rows_seeks(make_stream: MakeStream, tmp_path: Path) -> None:
    """Lines of one width, so that the place of row 1,000,000 can be told without reading to it."""
    path, width = tmp_path / "many.jsonl", len('{"text": "n 0000000"}\n')
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.writelines(f'{{"text": "n {row:07d}"}}\n' for row in range(1_002_000))
    recipe = make_stream().recipe
    recipe = replace(
        recipe,
        sets=(DataSet(name="many", files=(path,)),),
        readings=recipe.readings[:1],
        windows=WindowRules(size=1000, mix=MixRules(seed=1)),
        part_rows=500,
    )

    def open_at_million() -> StreamedBatches:
        place = {"file": 0, "position": {"offset": 1_000_000 * width, "row": 1_000_000, "line": 1_000_001}}
        window = {
            "sets": [{"place": place, "taken": 0, "has_ended": False}], "epoch": 0, "number": 1000, "turn": 0,
        }  # fmt: skip
        batches = StreamedBatches(
            TrainStream(recipe=recipe, max_row_loss=0, may_drop_broken=False, looks_ahead=False),
            plan(),
            num_batches=10**6,
        )
        batches.restore({**batches.position(), "window": window, "micro_batches": 250_000})
        return batches

    batches = open_at_million()
    rows = [row.source.row for number in range(250_000, 250_250) for row in batches[number]]
    assert len(set(rows)) == len(rows) == 500
    assert set(rows) <= set(range(1_000_000, 1_001_000))
    again = open_at_million()
    assert rows[:100] == [row.source.row for number in range(250_000, 250_050) for row in again[number]]
    assert np.mean(np.diff(rows) == 1) < 0.1, "shuffled"


@pytest.mark.parametrize("looks_ahead", [False, True])
def test_a_file_that_cannot_be_read_is_told_when_its_turn_comes(make_stream: MakeStream, looks_ahead: bool) -> None:
    stream = make_stream(looks_ahead=looks_ahead)
    first, second = stream.recipe.sets
    missing = replace(first, files=(*first.files, Path("absent.jsonl")))
    broken = TrainStream(
        recipe=replace(stream.recipe, sets=(missing, second)),
        max_row_loss=0,
        may_drop_broken=False,
        looks_ahead=looks_ahead,
    )
    batches = StreamedBatches(broken, plan(), num_batches=99)
    assert batches[0]
    with pytest.raises(TunesmithError) as caught:
        for number in range(1, 99):
            batches[number]
    batches.close()
    (problem,) = caught.value.problems
    assert (problem.code, problem.where.file) == ("data.file_unreadable", "absent.jsonl")
    assert batches.position()["micro_batches"] > 4
