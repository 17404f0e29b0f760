# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Trains an order with TRL, stamped. Run in its own environment (peers.sh)."""

from typing import Any

import stamps
from datasets import load_dataset
from order import LINEARS, LORA, Order, read_order
from peft import LoraConfig
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer


def main(order: Order) -> None:
    """Train to the end; the stamps end the process."""
    stamps.install()
    rows = load_dataset("json", data_files=str(order.place / "turns.jsonl"), split="train")
    kinds = {"sft": (SFTTrainer, SFTConfig), "dpo": (DPOTrainer, DPOConfig)}
    trainer, config = kinds[order.stage]
    trainer(
        model=order.model,
        args=config(**_settings(order)),
        train_dataset=rows,
        peft_config=None if order.full else _lora(),
    ).train()


def _settings(order: Order) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "output_dir": str(order.place / "out"),
        "per_device_train_batch_size": order.batch,
        "gradient_accumulation_steps": order.accumulation,
        "learning_rate": order.learning_rate,
        "lr_scheduler_type": "linear",
        "max_steps": order.steps,
        "max_length": order.cutoff,
        "bf16": order.dtype == "bf16",
        "use_cpu": True,
        "seed": order.seed,
        "train_sampling_strategy": "sequential",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        # Without it the frozen weights are what the folder holds: bfloat16.
        "model_init_kwargs": {"dtype": "float32"} if order.full or order.dtype == "fp32" else None,
        **order.keys,
    }
    if order.packing:
        settings["packing"] = True
    if order.checkpointing is not None:
        settings["gradient_checkpointing"] = order.checkpointing
    return settings


def _lora() -> LoraConfig:
    return LoraConfig(
        r=LORA["rank"], lora_alpha=LORA["alpha"], lora_dropout=0.0, target_modules=list(LINEARS), task_type="CAUSAL_LM"
    )


if __name__ == "__main__":
    main(read_order())
