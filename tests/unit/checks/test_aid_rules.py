# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Aids without an effect are said, and do not stop a run; what cannot be is refused."""

from typing import Any

import pytest

from tunesmith.checks.aid_rules import aids_have_an_effect, language_is_trained, towers_are_loaded
from tunesmith.checks.context import CheckContext
from tunesmith.config.load import load_config
from tunesmith.core.errors import TunesmithError

RUN = {"model_name_or_path": "smollm2-135m", "dataset": "rows.jsonl", "output_dir": "out", "use_cpu": True}


def context(**keys: Any) -> CheckContext:
    return CheckContext(load_config({**RUN, **keys}, command="train"))


@pytest.mark.parametrize(
    "key", ["enable_liger_kernel", "use_liger_kernel", "use_unsloth", "use_unsloth_gc", "activation_offloading"]
)
def test_keys_of_gpus_are_told_on_a_cpu(key: str) -> None:
    (finding,) = aids_have_an_effect(context(**{key: True}))
    shown = key.replace("use_liger_kernel", "enable_liger_kernel")
    assert shown in finding.message and "no effect in this run" in finding.message
    assert not list(aids_have_an_effect(context(**{key: False})))


def test_norms_are_upcast_beside_short_weights_only() -> None:
    assert "float32" in next(iter(aids_have_an_effect(context(upcast_layernorm=True, bf16=False)))).message
    assert not list(aids_have_an_effect(context(upcast_layernorm=True)))  # said where the format is chosen
    assert not list(aids_have_an_effect(context(upcast_layernorm=True, bf16=True)))


def test_the_usual_freezing_of_towers_is_silent() -> None:
    usual = {"freeze_vision_tower": True, "freeze_multi_modal_projector": True, "freeze_language_model": False}
    assert not list(towers_are_loaded(context(**usual))) and not list(language_is_trained(context(**usual)))
    assert "text only" in next(iter(towers_are_loaded(context(freeze_vision_tower=False)))).message
    assert "nothing to train" in next(iter(language_is_trained(context(freeze_language_model=True)))).message


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"train_from_scratch": True, "finetuning_type": "lora"}, "draws all weights anew"),
        ({"train_from_scratch": True, "finetuning_type": "full", "stage": "rm"}, "judges by what a language model"),
        ({"upcast_layernorm": True, "pure_bf16": True}, "without mixed precision"),
        ({"use_unsloth_gc": True, "disable_gradient_checkpointing": True}, "switched off"),
        ({"shift_attn": True}, "shift_attn has no equivalent"),
        ({"mixture_of_depths": "convert"}, "mixture_of_depths has no equivalent"),
    ],
)
def test_settings_that_contradict_are_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(TunesmithError) as caught:
        context(**keys)
    assert said in caught.value.problems[0].message
