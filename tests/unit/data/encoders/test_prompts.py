# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A prompt is rendered up to where the model begins to write; nothing of it is trained."""

from pathlib import Path

import numpy as np
import pytest

from tests.unit.data.encoders.conftest import Workbench
from tests.unit.data.encoders.talks import example, records, ref, talk
from tunesmith.core.types import Example
from tunesmith.data.encoders.base import LengthPolicy

LONG = " ".join(f"word{number}" for number in range(120))


def test_real_prompts_are_their_renderings(bench: Workbench, assets: Path) -> None:
    questions = [values["question"] for values in records(assets / "datasets" / "reasoning" / "gsm8k_train.jsonl")[:80]]
    examples = [
        Example(kind="prompt", source=ref(row), conversation=talk(("user", text)), reference_answer="42")
        for row, text in enumerate(questions)
    ]
    encoded = bench.encode("prompt", examples)
    assert encoded.outcomes() == [("kept", "", 1)] * len(examples) and bench.template is not None
    for question, row in zip(questions, encoded.rows, strict=True):
        rendered = bench.template.render(talk(("user", question)), add_generation_prompt=True)
        assert np.array_equal(row.input_ids, rendered.input_ids)
        assert not row.weights.any() and row.segment_names == ("prompt",)
        assert str(bench.tokenizer.decode(row.input_ids)).endswith(f"{question}<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.parametrize(
    ("policy", "outcome"),
    [
        ("truncate_prompt", ("cut", "prompt_cut", 1)),
        ("ratio", ("cut", "ratio_prompt", 1)),
        ("drop", ("dropped", "too_long", 0)),
        ("split", ("dropped", "unsplittable", 0)),
    ],
)
def test_a_long_prompt(bench: Workbench, policy: LengthPolicy, outcome: tuple[str, str, int]) -> None:
    one = example("prompt", ("user", f"Sum up: {LONG} END"))
    encoded = bench.encode("prompt", [one], bench.rules(cutoff_len=100, length_policy=policy))
    assert encoded.outcomes() == [outcome]
    for row in encoded.rows:
        assert row.num_tokens in range(95, 101)
        assert str(bench.tokenizer.decode(row.input_ids)).endswith("assistant\n") == (policy == "truncate_prompt")


def test_the_earliest_turns_of_a_prompt_go_first(bench: Workbench) -> None:
    one = example("prompt", ("user", LONG), ("assistant", "Yes."), ("user", "And now?"))
    encoded = bench.encode("prompt", [one], bench.rules(cutoff_len=60))
    assert encoded.outcomes() == [("cut", "turns_cut", 1)]
    assert "And now?" in bench.tokenizer.decode(encoded.rows[0].input_ids)
