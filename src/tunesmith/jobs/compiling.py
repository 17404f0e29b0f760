# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Decides whether a run compiles its decoder layers, says so, and repeats what its checkpoint says."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tunesmith.config.run import RunConfig
from tunesmith.core.errors import TunesmithError, refusal
from tunesmith.core.progress import format_seconds, say
from tunesmith.jobs.assembly import BuiltModel
from tunesmith.jobs.forecast import Forecast
from tunesmith.models.compiled import CompileTrial, cannot_compile, compile_layers, worth_compiling
from tunesmith.training.arguments import training_device
from tunesmith.training.precision import mixed_precision

CHOICE = "compiled"


def settle_compiling(
    config: RunConfig, built: BuiltModel, forecast: Forecast, *, saved_choices: Mapping[str, Any] | None
) -> BuiltModel:
    """Compile the layers where the user, the checkpoint or the length of the run asks for it; record the choice."""
    is_wanted, reason = _decide(config, built, forecast, saved_choices)
    is_done = is_wanted and _compile(config, built, must=config.training.must_compile, saved=saved_choices)
    if not is_wanted and reason:
        say(f"Layers are not compiled: {reason}.")
    return replace(built, choices={**built.choices, CHOICE: is_done})


def _decide(
    config: RunConfig, built: BuiltModel, forecast: Forecast, saved: Mapping[str, Any] | None
) -> tuple[bool, str]:
    training, device = config.training, training_device(config.run)
    if training.must_compile:
        return True, ""
    if training.torch_compile is False or forecast.is_finished:
        return False, ""
    if saved is not None:
        return bool(saved.get(CHOICE, False)), ""
    tokens = forecast.tokens * forecast.steps // max(forecast.steps_of_epoch, 1)
    is_worth, reason = worth_compiling(built.model, tokens=tokens, device=device)
    hindrance = cannot_compile(device)
    if is_worth and hindrance:
        return False, hindrance
    return is_worth, reason


def _compile(config: RunConfig, built: BuiltModel, *, must: bool, saved: Mapping[str, Any] | None) -> bool:
    training, device = config.training, training_device(config.run)
    say("Compiling the decoder layers (later runs find the code in the cache) …")
    hindrance = cannot_compile(device)
    trial = CompileTrial(is_equal=False, reason=hindrance)
    if not hindrance:
        with mixed_precision(training, device):
            trial = compile_layers(
                built.model,
                built.layout,
                backend=training.torch_compile_backend or "inductor",
                mode=training.torch_compile_mode,
            )
    if trial.is_equal:
        say(f"Compiled in {format_seconds(trial.seconds)}: {trial.reason}.")
        return True
    if must:
        raise _refused("model.compile_failed", trial.reason, "Write torch_compile: auto, or false.", "torch_compile")
    if saved is not None:
        remedy = "Continue on the machine of the first start, or start anew."
        raise _refused("checkpoint.choice_unrepeatable", trial.reason, remedy, "resume_from_checkpoint")
    say(f"Layers are not compiled: {trial.reason}.")
    return False


def _refused(code: str, reason: str, remedy: str, key: str) -> TunesmithError:
    return refusal(code, f"The decoder layers cannot be compiled here: {reason}.", remedy, key=key)
