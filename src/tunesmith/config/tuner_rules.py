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


@_rule("init_lora_weights")
def _start_that_works(flat: Flat) -> Finding | None:
    if flat["init_lora_weights"] != "loftq":
        return None
    return Finding(
        code="tuner.start_unsupported",
        message="init_lora_weights: loftq was tried with PEFT's LoftQ: it quantises on CUDA only (a CPU ends with "
        "'Torch not compiled with CUDA enabled'), and it replaces the base weights by its own rounding of them, which "
        "is not that of quantization_bit, so that the adapter fits no base model that others have.",
        remedy="Write quantization_bit: 4 without it; pissa, eva, lora_ga and corda also begin on 4-bit weights.",
    )


@_rule("use_llama_pro", "finetuning_type")
def _llama_pro_freezes(flat: Flat) -> Finding | None:
    if not flat["use_llama_pro"] or flat["finetuning_type"] == "freeze":
        return None
    return _conflict(
        f"use_llama_pro chooses the layers that freeze trains, and finetuning_type is {flat['finetuning_type']}.",
        "Write finetuning_type: freeze; for LoRA name the added layers in lora_target, for example "
        r"layers\.(8|17)\..*_proj.",
    )


@_rule("use_dora", "pissa_init", "init_lora_weights")
def _dora_has_no_start(flat: Flat) -> Finding | None:
    start = "pissa" if flat["pissa_init"] else flat["init_lora_weights"]
    if not flat["use_dora"] or start not in ("pissa", "olora", "lora_ga", "corda"):
        return None
    return _conflict(
        f"use_dora rescales each adapter by itself, so what {start} adds at the start does not cancel.",
        "Keep one of them.",
    )


@_rule("train_from_scratch", "finetuning_type", "quantization_bit")
def _scratch_trains_all(flat: Flat) -> Finding | None:
    tuner, is_quantised = flat["finetuning_type"], flat["quantization_bit"] is not None
    if not flat["train_from_scratch"] or (tuner == "full" and not is_quantised):
        return None
    what = "on quantised weights" if is_quantised else f"of finetuning_type {tuner}"
    return _conflict(
        f"train_from_scratch draws all weights anew, and a result {what} would not hold them.",
        "Write finetuning_type: full, without quantization_bit.",
    )


@_rule("train_from_scratch", "stage")
def _scratch_makes_no_judge(flat: Flat) -> Finding | None:
    if not flat["train_from_scratch"] or flat["stage"] != "rm":
        return None
    return _conflict(
        "train_from_scratch draws all weights anew, and a reward model judges by what a language model knows.",
        "Leave out train_from_scratch, or train the language model first.",
    )


@_rule("upcast_layernorm", "pure_bf16")
def _upcast_needs_mixed_precision(flat: Flat) -> Finding | None:
    if not (flat["upcast_layernorm"] and flat["pure_bf16"]):
        return None
    return _conflict(
        "upcast_layernorm holds norms in float32, and pure_bf16 computes all in bfloat16 without mixed precision.",
        "Write bf16: true instead of pure_bf16, or leave upcast_layernorm out.",
    )


@_rule("use_unsloth_gc", "disable_gradient_checkpointing", "gradient_checkpointing")
def _offload_needs_checkpointing(flat: Flat) -> Finding | None:
    is_off = flat["disable_gradient_checkpointing"] or flat["gradient_checkpointing"] is False
    if not (flat["use_unsloth_gc"] and is_off):
        return None
    return _conflict(
        "use_unsloth_gc offloads what gradient checkpointing keeps, which is switched off.",
        "Keep one of them; activation_offloading: true works without checkpointing.",
    )


@_rule("qat", "finetuning_type", "quantization_bit", "pure_bf16")
def _qat_trains_exact_weights(flat: Flat) -> Finding | None:
    if flat["qat"] is None:
        return None
    if flat["finetuning_type"] not in ("full", "freeze"):
        return _conflict(
            f"qat trains the weights that are to be quantised, which finetuning_type {flat['finetuning_type']} leaves.",
            "Write finetuning_type: full, or quantization_bit to train adapters on quantised weights.",
        )
    if flat["quantization_bit"] is not None:
        return _conflict("qat trains exact weights; quantization_bit loads quantised ones.", "Keep one of them.")
    if flat["pure_bf16"]:
        return _conflict("qat rounds exact weights, which pure_bf16 does not keep.", "Write bf16: true instead.")
    return None


@_rule("quantization_bit", "train_from_scratch")
def _fresh_weights_are_not_quantised(flat: Flat) -> Finding | None:
    if flat["quantization_bit"] is None or not flat["train_from_scratch"]:
        return None
    return _conflict("quantization_bit quantises weights that are loaded; train_from_scratch loads none.",
                     "Keep one of them.")  # fmt: skip
