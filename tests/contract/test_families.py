# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Model types from loading to the merged folder, and the table of what was verified of all of them.

A dozen unlike ones run here; bench/families.py runs every type, and scripts/family_table.py writes the table and the
page that are compared here.
"""

import pytest
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from scripts.family_table import PAGE, TABLE, page, read_results, verified_table
from tests.contract.family_run import run_family
from tests.unit.models.attention.random_families import CAUSAL_TYPES
from tunesmith.jobs.families import read_families
from tunesmith.models.attention.families import FOREST_TYPES, PADDED_TYPES
from tunesmith.templates.catalog import load_catalog

# Plain, windows, experts, latent attention, sinks, recurrent layers, shared weights, caches of all kinds.
DOZEN = (
    "deepseek_v3", "gemma3_text", "gemma4_text", "gpt_oss", "internlm3", "llama", "llama4_text", "mamba", "marian",
    "mistral", "phi3", "qwen3_5_text", "zamba2",
)  # fmt: skip
RESULTS = {result["model_type"]: result for result in read_results()}
TYPES = {part.type: part for family in read_families()[1] for part in family.types}


@pytest.mark.parametrize("model_type", DOZEN)
def test_the_contract_finds_what_the_table_says(model_type: str) -> None:
    found, known = run_family(model_type), RESULTS[model_type]
    assert found["targets"] == known["targets"] and found["fused_experts"] == known["fused_experts"]
    outcomes = {name: (part["ok"], part.get("layout"), part.get("past")) for name, part in found["parts"].items()}
    assert outcomes == {
        name: (part["ok"], part.get("layout"), part.get("past")) for name, part in known["parts"].items()
    }
    if model_type != "zamba2":  # its layers share weights, which cannot hold two additions
        assert all(part["ok"] for part in found["parts"].values()), found["parts"]


def test_every_type_of_transformers_was_run_and_stands_in_a_family() -> None:
    assert set(RESULTS) == set(CAUSAL_TYPES)
    assert set(CAUSAL_TYPES) <= set(TYPES)
    assert {name for name, part in TYPES.items() if part.state in ("verified", "partly")} == set(CAUSAL_TYPES)


def test_what_fails_has_a_reason_and_nothing_else_has() -> None:
    failing = {name for name, part in TYPES.items() if part.state == "partly"}
    assert {name for name, part in TYPES.items() if part.reason} == failing
    assert len(failing) < len(TYPES) / 4


def test_rows_are_packed_or_there_is_a_reason() -> None:
    """A tiny model is packed or padded as the table of the forest says."""
    assert set(CAUSAL_TYPES) <= FOREST_TYPES | PADDED_TYPES.keys()
    for name, result in RESULTS.items():
        layout = result["parts"]["rows"].get("layout")
        assert layout in (None, "packed" if name in FOREST_TYPES else "padded"), name


def test_every_template_stands_in_a_family_and_types_are_what_they_are_called() -> None:
    _, families = read_families()
    assert {part.name for family in families for part in family.templates} == set(load_catalog().entries)
    for name, part in TYPES.items():
        is_known = name in CONFIG_MAPPING
        assert is_known == (part.state != "own_code"), name
        assert (name in CAUSAL_TYPES) == (part.state in ("verified", "partly")), name


def test_table_and_page_are_those_of_the_results() -> None:
    assert TABLE.read_text(encoding="utf-8") == verified_table(read_results()), "run: python scripts/family_table.py"
    assert PAGE.read_text(encoding="utf-8") == page(*read_families()), "run: python scripts/family_table.py"
