# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rules between the keys of tuners and optimizers, over the flat values."""

from collections.abc import Callable

from tunesmith.config.rules import Finding, Flat, Rule

TUNER_RULES: list[Rule] = []


def _rule(*keys: str) -> Callable[[Callable[[Flat], Finding | None]], None]:
    def store(check: Callable[[Flat], Finding | None]) -> None:
        TUNER_RULES.append(Rule(keys=keys, jobs=("train",), check=check))

    return store


def _conflict(message: str, remedy: str) -> Finding:
    return Finding(code="config.keys_conflict", message=message, remedy=remedy)


@_rule("pissa_init", "init_lora_weights")
def _one_start(flat: Flat) -> Finding | None:
    start = flat["init_lora_weights"]
    if not flat["pissa_init"] or start in ("default", "pissa"):
        return None
    return _conflict(f"pissa_init and init_lora_weights: {start} are two starts of one adapter.", "Keep one of them.")


@_rule("use_dora", "pissa_init", "init_lora_weights")
def _dora_has_no_start(flat: Flat) -> Finding | None:
    start = "pissa" if flat["pissa_init"] else flat["init_lora_weights"]
    if not flat["use_dora"] or start not in ("pissa", "olora"):
        return None
    return _conflict(
        f"use_dora rescales each adapter by itself, so the start that {start} takes from the weights does not cancel.",
        "Keep one of them.",
    )
