# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Chooses the numbers of keys that the user set to auto, by published findings, and the number format; says why.

Schulman et al., "LoRA Without Regret" (thinkingmachines.ai/blog/lora, 2025): on all linear layers LoRA learns as full
training does while it has capacity, at ten times the learning rate, whatever the rank; alpha is 32. The rule of the
rank is that of the authors' LoRA primer (tinker-docs.thinkingmachines.ai/lora-primer): as many weights as trained
tokens. The rate is the fit in their guide to hyperparameters, 5e-5 · (2000 / width) ** p for full training, p 0.781 for
Llama's family and 0.0775 for Qwen's; others have none, and Llama's is taken. The later sweep of their cookbook (LoRA,
batches of 128) found 1e-3 for Llama 1B and 3B, 3e-4 for 8B, 1e-3 for Qwen3 8B, 3e-4 for 32B: the fit is within a
factor of 3 of these. DPO takes a fortieth of SFT's rate in Zephyr's recipes, full (5e-7, 2e-5) and LoRA (5e-6, 2e-4).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tunesmith.checks.context import Parts
from tunesmith.config.run import RunConfig
from tunesmith.core.errors import refusal, warning
from tunesmith.core.progress import say
from tunesmith.core.report import emit_warning
from tunesmith.models.anatomy import base_model
from tunesmith.models.load import load_model_config, load_skeleton
from tunesmith.training.arguments import training_device
from tunesmith.training.checkpoints import read_manifest
from tunesmith.training.precision import fast_bf16, names_no_format

_RANKS = (16, 32, 64, 128, 256)
_PREFERENCE_RANKS = (8, *_RANKS)
_ALPHA = 32
_FULL_RATE, _WIDTH, _LORA_FACTOR, _PREFERENCE_FACTOR = 5e-5, 2000, 10.0, 1 / 40
_POWERS = {"llama": 0.781, "qwen": 0.0775}
_PREFERENCES = ("dpo", "kto")
# Optimizers that take other rates than AdamW.
_OTHER_RATES = ("use_galore", "use_apollo", "loraplus_lr_ratio")


def choose_numbers(config: RunConfig, parts: Parts, checkpoint: Path | None = None) -> RunConfig:
    """Replace auto by numbers: those of the checkpoint that is continued, else by the model and the data."""
    is_lora = config.run.finetuning_type == "lora"
    wanted = [key for key in config.resolved.automatic if is_lora or key != "lora_rank"]
    if not wanted or parts.folder is None or parts.data is None:
        return config
    if checkpoint is not None:
        saved: Mapping[str, Any] = read_manifest(checkpoint).record["config"]
        names = [*wanted, *(["lora_alpha"] if "learning_rate" in wanted and not config.is_set("lora_alpha") else [])]
        return config.with_choices({name: saved[name] for name in names if name in saved})
    model, chosen = load_skeleton(parts.folder), {}
    if "lora_rank" in wanted:
        data = parts.data
        tokens = None if data.train is None or data.stream is not None else int(data.train.num_supervised.sum())
        chosen["lora_rank"] = _rank(config, model, tokens)
    if "learning_rate" in wanted:
        chosen |= _rate(config, model)
    return config.with_choices(chosen)


def choose_format(config: RunConfig, parts: Parts, checkpoint: Path | None = None) -> RunConfig:
    """Settle bf16 where the run names no format: as the checkpoint has it, else by stored weights and device."""
    if not names_no_format(config.training) or parts.folder is None:
        return config
    if checkpoint is not None:
        return _with_format(config, bf16=bool(read_manifest(checkpoint).record["config"].get("bf16")))
    is_stored = load_model_config(parts.folder).dtype == torch.bfloat16
    unit = fast_bf16(training_device(config.run)) if is_stored else ""
    if unit:
        say(f"bf16: on, as the weights are stored, because {unit} multiplies it in hardware (bf16: false: float32).")
    return _with_format(config, bf16=bool(unit))


def _with_format(config: RunConfig, *, bf16: bool) -> RunConfig:
    """Settle the format, and say what then has no effect: the checks before did not know it yet."""
    if config.aids.upcast_layernorm and not bf16:
        emit_warning(
            warning(
                "check.aid_idle",
                "upcast_layernorm: true has no effect in this run: without bf16 or fp16 all weights are in float32.",
                "Write bf16: true, or leave upcast_layernorm out.",
                key="upcast_layernorm",
            )
        )
    return config.with_choices({"bf16": bf16})


def _rank(config: RunConfig, model: nn.Module, num_tokens: int | None) -> int:
    sides = sum(_sides(model))
    ranks = _RANKS if config.run.stage in ("pt", "sft") else _PREFERENCE_RANKS
    if num_tokens is None:
        say(f"lora_rank: 64, because the rows of a stream are not counted (auto; {ranks[-1]} holds most).")
        return 64
    fitting = [rank for rank in ranks if rank * sides >= num_tokens]
    rank = fitting[0] if fitting else ranks[-1]
    short = "" if fitting else ": these are fewer than the tokens, so that full training may learn more"
    targets = list(config.flat["lora_target"])
    remark = "" if targets == ["all"] else f" The finding is about all linear layers, not {', '.join(targets)}."
    say(
        f"lora_rank: {rank} (auto): {rank * sides:,} weights on all linear layers for {num_tokens:,} trained tokens"
        f"{short} (the authors' rule is as many weights as tokens: LoRA Without Regret, 2025).{remark}"
    )
    return rank


def _sides(model: nn.Module) -> list[int]:
    """Give rows + columns of every linear layer but the head: the weights that one rank adds."""
    head: Any = base_model(model).get_output_embeddings()
    linear = (module for module in model.modules() if isinstance(module, nn.Linear) and module is not head)
    return [module.in_features + module.out_features for module in linear]


def _rate(config: RunConfig, model: nn.Module) -> dict[str, Any]:
    flat, run = config.flat, config.run
    tuner, optim = run.finetuning_type, config.training.optim
    other = [key for key in _OTHER_RATES if flat.get(key)] or ([] if optim.startswith("adamw") else [f"optim: {optim}"])
    if run.stage not in ("pt", "sft", *_PREFERENCES):
        other.append(f"stage: {run.stage}")
    if other or tuner not in ("full", "freeze", "lora"):
        reason = f"with {other[0]}" if other else f"for finetuning_type {tuner}"
        raise refusal(
            "config.value_invalid",
            f"learning_rate: auto has no published rule {reason}; it knows full, freeze and lora with AdamW, "
            "for pt, sft, dpo and kto.",
            "Write a number.",
            key="learning_rate",
        )
    model_config: Any = base_model(model).config.get_text_config()
    kind, width = str(model_config.model_type), int(model_config.hidden_size)
    family = next((start for start in _POWERS if kind.startswith(start)), None)
    power = _POWERS[family or "llama"]
    rate, steps = _FULL_RATE * (_WIDTH / width) ** power, [f"5e-5 · (2000 / {width}) ** {power:g} for full training"]
    if family is None:
        steps.append(f"the fit of Llama models, because none is published for {kind}")
    chosen: dict[str, Any] = {}
    if tuner == "lora":
        rate *= _LORA_FACTOR
        steps.append("ten times that for LoRA")
        if not config.is_set("lora_alpha") and not flat["use_rslora"]:
            chosen["lora_alpha"] = _ALPHA
            steps.append(f"with lora_alpha: {_ALPHA}, as it was found")
    if run.stage in _PREFERENCES:
        rate *= _PREFERENCE_FACTOR
        steps.append("a fortieth for losses on preferences (Zephyr's recipes)")
    rate = float(f"{rate:.1e}")
    say(f"learning_rate: {rate:g} (auto): {', '.join(steps)} (LoRA Without Regret, 2025).")
    return {**chosen, "learning_rate": rate}
