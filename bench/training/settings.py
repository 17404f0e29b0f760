# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The settings of the training bench, and what the variants of a system change.

A system is named `system-variant-…`.
"""

from dataclasses import dataclass, replace

from training.order import Order

PEERS = ("llamafactory", "ms-swift", "trl")
# All peers checkpoint activations by default; a variant without is faster and needs more memory.
_BOTH = tuple(name for peer in PEERS for name in (peer, f"{peer}-no_checkpointing"))
# What a variant sets, in the words of the system that has it.
_VARIANTS: dict[str, dict[str, object]] = {
    "neat": {"neat_packing": True},
    "eager": {"torch_compile": False},
    "compiled": {"torch_compile": True},
    "cached": {"precompute_ref_log_probs": True},
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One comparison: hyper-parameters and who takes part."""

    name: str
    systems: tuple[str, ...]
    batch: int = 4
    accumulation: int = 2
    packing: bool = False
    full: bool = False
    # For tunesmith; what the peers do is in the names of their variants.
    checkpointing: bool | None = None


SETTINGS = (
    Setting(name="sft_lora_4x2", systems=("tunesmith", *_BOTH, "tunesmith-eager")),
    Setting(name="sft_lora_8x1", systems=("tunesmith", *_BOTH), batch=8, accumulation=1),
    # ms-swift packs with FlashAttention only, which needs a GPU: it refuses here and is left out.
    Setting(
        name="sft_lora_packed",
        systems=(
            "tunesmith",
            "llamafactory",
            "llamafactory-no_checkpointing",
            "llamafactory-neat-no_checkpointing",
            "trl",
            "trl-no_checkpointing",
        ),
        batch=2,
        accumulation=1,
        packing=True,
    ),
    Setting(name="sft_full", systems=("tunesmith", *_BOTH), full=True),
    Setting(name="sft_lora_checkpointed", systems=("tunesmith", *PEERS), checkpointing=True),
    Setting(name="sft_full_checkpointed", systems=("tunesmith", *PEERS), full=True, checkpointing=True),
)

DPO_SETTINGS = (
    Setting(name="dpo_lora", systems=("tunesmith", *_BOTH, "tunesmith-eager"), batch=4, accumulation=1),
    # The reference's log-probs computed once, before training; LLaMA-Factory and ms-swift cannot.
    Setting(
        name="dpo_lora_cached",
        systems=("tunesmith-cached", "trl-no_checkpointing-cached"),
        batch=4,
        accumulation=1,
    ),
)


def order_of(setting: Setting, system: str, base: Order) -> Order:
    """Say what a system, in its variant, does in a setting."""
    name, *variants = split_system(system)
    changed = {
        "batch": setting.batch,
        "accumulation": setting.accumulation,
        "packing": setting.packing,
        "full": setting.full,
    }
    order = replace(base, **changed, checkpointing=setting.checkpointing if name == "tunesmith" else None)
    for variant in variants:
        if variant == "no_checkpointing":
            order = replace(order, checkpointing=False)
        else:
            order = replace(order, keys={**order.keys, **_VARIANTS[variant]})
    return order


def split_system(system: str) -> list[str]:
    """Give a system's own name and its variants; ms-swift has a hyphen of its own."""
    own = next((name for name in ("tunesmith", *PEERS) if system == name or system.startswith(f"{name}-")), system)
    return [own, *(part for part in system.removeprefix(own).split("-") if part)]
