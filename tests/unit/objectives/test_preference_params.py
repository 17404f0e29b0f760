# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Keys of preference training that would do nothing are refused; losses named as stages are losses of stage dpo."""

from typing import Any

import pytest
from pydantic import ValidationError

from tunesmith.config.load import load_config
from tunesmith.objectives.base import objectives
from tunesmith.objectives.preference_params import PreferenceParams

KEYS = {"model_name_or_path": "m", "dataset": "d", "output_dir": "o", "finetuning_type": "lora"}


@pytest.mark.parametrize(
    "idle", [{"ref_model": "m"}, {"ref_model_adapters": ("a",)}, {"precompute_ref_log_probs": True}]
)
@pytest.mark.parametrize("free", [{"pref_loss": "orpo"}, {"pref_loss": "simpo,cpo"}, {"reference_free": True}])
def test_a_reference_for_losses_that_have_none_is_refused(idle: dict[str, Any], free: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=f"{next(iter(idle))} have no effect"):
        PreferenceParams.model_validate({**idle, **free})
    assert PreferenceParams.model_validate({**idle, "pref_loss": "orpo,sigmoid"})
    assert PreferenceParams.model_validate({**idle, "pref_loss": "orpo", "pref_bco_weight": 1.0})


@pytest.mark.parametrize("stage", ["orpo", "simpo", "cpo"])
def test_stages_that_name_a_loss_train_with_it_and_without_a_reference(stage: str) -> None:
    config = load_config({**KEYS, "stage": stage, "pref_beta": 0.3}, command="train")
    assert (config.run.stage, config.flat["pref_loss"]) == ("dpo", [stage]) or config.flat["pref_loss"] == (stage,)
    kind = objectives.get(config.run.stage)
    assert not kind(config.part(kind.Params)).needs_reference
