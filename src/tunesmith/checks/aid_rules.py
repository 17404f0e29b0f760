# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rules about training aids: which have no effect on this device or model, and which cannot work."""

from collections.abc import Iterator

import torch

from tunesmith.checks.context import CheckContext
from tunesmith.checks.rule import Finding, rule
from tunesmith.core.optional import has_package


@rule("check.aid_idle", "warn")
def aids_have_an_effect(context: CheckContext) -> Iterator[Finding]:
    """Find aids that were switched on and do nothing in this run."""
    config = context.config
    if not config.run.do_train:
        return
    is_cpu = config.run.use_cpu or not torch.accelerator.is_available()
    aids = config.aids
    cases = [
        ("use_unsloth", aids.use_unsloth, "the model is loaded by transformers and trained with tunesmith's own code"),
        ("use_v1_kernels", aids.use_v1_kernels, "kernels are chosen by what was measured on this machine"),
        ("enable_liger_kernel", aids.enable_liger_kernel and is_cpu, "Liger's kernels are for GPUs"),
        (
            "enable_liger_kernel",
            aids.enable_liger_kernel and not is_cpu and not has_package("liger_kernel"),
            "the package liger-kernel is not installed",
        ),
        ("use_unsloth_gc", aids.use_unsloth_gc and is_cpu, "activations are in the CPU's memory anyway"),
        ("activation_offloading", aids.activation_offloading and is_cpu, "activations are in the CPU's memory anyway"),
        (
            "upcast_layernorm",
            aids.upcast_layernorm and config.training.bf16 is False and not config.training.fp16,
            "without bf16 or fp16 all weights are in float32",
        ),
        ("fp8_enable_fsdp_float8_all_gather", aids.fp8_enable_fsdp_float8_all_gather, "no FSDP shares the weights"),
    ]
    for key, is_idle, reason in cases:
        if is_idle:
            yield Finding(
                message=f"{key}: true has no effect in this run: {reason}.",
                remedy=f"Nothing; or leave {key} out.",
                where=context.at(key),
            )


@rule("check.tower_idle", "warn")
def towers_are_loaded(context: CheckContext) -> Iterator[Finding]:
    """Find keys that would train the media parts of a model, which are not loaded: models read text here."""
    aids, config = context.config.aids, context.config
    wanted = {
        "freeze_vision_tower": not aids.freeze_vision_tower,
        "freeze_multi_modal_projector": not aids.freeze_multi_modal_projector,
    }
    asked = [key for key, is_trained in wanted.items() if is_trained]
    if config.run.do_train and asked:
        yield Finding(
            message=f"{', '.join(asked)}: false has no effect: the model is loaded as one that reads text only.",
            remedy="Nothing; or leave it out.",
            where=context.at(*asked),
        )


@rule("check.language_frozen", "refuse")
def language_is_trained(context: CheckContext) -> Iterator[Finding]:
    """Find a run that would freeze the only part that is loaded."""
    if context.config.run.do_train and context.config.aids.freeze_language_model:
        yield Finding(
            message="freeze_language_model: true leaves nothing to train: the model is loaded as one that reads text.",
            remedy="Write freeze_language_model: false.",
            where=context.at("freeze_language_model"),
        )
