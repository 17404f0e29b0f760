# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The training benches' own arithmetic: who is compared with whom, what counts as a token, what a ratio is."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch

BENCH = Path(__file__).parents[3] / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCH))
    monkeypatch.syspath_prepend(str(BENCH / "training"))
    return importlib.import_module


def run(rate: float, memory: float, tokens: int = 1000) -> dict[str, Any]:
    return {
        "tokens_per_cpu_second": rate,
        "tokens_per_second": 2 * rate,
        "peak_rss_bytes": memory,
        "steps_peak_rss_bytes": memory,
        "tokens": tokens,
        "steps": 2,
        "step_seconds": [9.0, 1.0, 1.0],
        "losses": [3.0, 2.0, 1.0],
    }


def test_the_fastest_and_the_leanest_peer_count_each_in_its_measure(bench: Any) -> None:
    systems = {
        "tunesmith": [run(300, 2), run(330, 2), run(310, 2)],
        "tunesmith-eager": [run(200, 1)],
        "trl": [run(60, 5)],
        "trl-no_checkpointing": [run(100, 8)],
    }
    found = bench("training.summary").summarise_setting("sft_lora_4x2", systems)
    assert found["fastest_peer"] == "trl-no_checkpointing" and found["speed_ratio"] == pytest.approx(3.1)
    assert found["leanest_peer"] == "trl" and found["rss_ratio"] == pytest.approx(2 / 5)
    assert found["speed_ratio_range"] == [3.0, 3.3]
    assert found["systems"]["tunesmith"]["runs"] == 3 and found["systems"]["tunesmith"]["warmup_seconds"] == 9.0


def test_systems_that_trained_other_tokens_are_told(bench: Any) -> None:
    summarise = bench("training.summary").summarise_setting
    assert summarise("x", {"tunesmith": [run(1, 1, 1000)], "trl": [run(1, 1, 1009)]})["is_same_work"]
    assert not summarise("x", {"tunesmith": [run(1, 1, 1000)], "trl": [run(1, 1, 1020)]})["is_same_work"]


def test_cells_are_grouped_by_setting_and_variant(bench: Any) -> None:
    names = ["sft_full-ms-swift-no_checkpointing-1", "sft_full-ms-swift-no_checkpointing-2", "sft_lora_4x2-tunesmith-1"]
    grouped = bench("training.summary").runs_by_setting({name: {"name": name} for name in [*names, "ceiling"]})
    assert [(setting, list(systems)) for setting, systems in grouped.items()] == [
        ("sft_lora_4x2", ["tunesmith"]),
        ("sft_full", ["ms-swift-no_checkpointing"]),
    ]
    assert len(grouped["sft_full"]["ms-swift-no_checkpointing"]) == 2


def test_a_variant_changes_only_what_it_names(bench: Any) -> None:
    settings, order = bench("training.settings"), bench("training.order").Order
    base = order(model="m", folder="f", keys={})
    packed = next(setting for setting in settings.SETTINGS if setting.name == "sft_lora_packed")
    neat = settings.order_of(packed, "llamafactory-neat-no_checkpointing", base)
    assert neat.packing and neat.keys == {"neat_packing": True} and neat.checkpointing is False
    assert settings.order_of(packed, "ms-swift", base).checkpointing is None and base.keys == {}
    assert settings.split_system("ms-swift-no_checkpointing") == ["ms-swift", "no_checkpointing"]


def test_padding_is_no_token_also_where_the_mask_shows_it(bench: Any) -> None:
    count = bench("stamps")._real_tokens
    ids = torch.tensor([5, 6, 2, 2, 2])  # the end token is the padding token
    labels = torch.tensor([-100, 6, 2, -100, -100])
    assert count(ids, torch.ones(5), labels, 2) == 3
    assert count(ids, torch.tensor([1, 1, 1, 0, 0]), labels, 2) == 3
    assert count(ids, torch.ones(5), torch.full((5,), -100), 2) == 2


def test_the_making_of_the_reference_is_counted_once(bench: Any) -> None:
    cached = {"tokens_per_cpu_second": 100.0, "cpu_seconds_to_first_step": 30.0, "tokens_of_all_steps": 1000}
    plain = {"cpu_seconds_to_first_step": 20.0}
    assert bench("dpo").rate_over_passes([cached], [plain]) == pytest.approx(3000 / (30 + 10))


def test_differences_of_losses_are_relative_and_the_largest(bench: Any) -> None:
    found = bench("training.summary").loss_differences({"losses": [2.0, 4.0], "ours": [2.0, 4.4]})
    assert found["ours_to_plain"] == pytest.approx(0.1) and "plain_to_itself" not in found
