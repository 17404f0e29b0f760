# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Trains an order with ms-swift, stamped. Run in its own environment (peers.sh)."""

import stamps
from order import LORA, SYSTEM, Order, read_order
from swift.pipelines import rlhf_main, sft_main


def main(order: Order) -> None:
    """Train to the end; the stamps end the process."""
    # After swift, which replaces the list of callbacks that the stamps extend.
    stamps.install()
    words = [word for name, value in _settings(order).items() for word in (f"--{name}", str(value))]
    if order.stage == "sft":
        sft_main(words)
    else:
        rlhf_main(["--rlhf_type", order.stage, *words])


def _settings(order: Order) -> dict[str, object]:
    file = "messages.jsonl" if order.stage == "sft" else "swift_pairs.jsonl"
    settings: dict[str, object] = {
        "model": order.model,
        "model_type": "llama",
        "template": "chatml",
        "system": SYSTEM,
        "dataset": str(order.place / file),
        "split_dataset_ratio": 0,
        "dataset_shuffle": "false",
        "train_dataloader_shuffle": "false",
        "max_length": order.cutoff,
        "tuner_type": "full" if order.full else "lora",
        "output_dir": str(order.place / "out"),
        "per_device_train_batch_size": order.batch,
        "gradient_accumulation_steps": order.accumulation,
        "learning_rate": order.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_ratio": 0,
        "weight_decay": 0,
        "adam_beta2": 0.999,
        "max_steps": order.steps,
        "seed": order.seed,
        "torch_dtype": "float32" if order.full or order.dtype == "fp32" else "bfloat16",
        "fp16": "false",
        "bf16": str(order.dtype == "bf16").lower(),
        "use_cpu": "true",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": "true",
        **order.keys,
    }
    if not order.full:
        settings |= {"lora_rank": LORA["rank"], "lora_alpha": LORA["alpha"], "lora_dropout": 0}
        settings |= {"target_modules": "all-linear"}
    if order.checkpointing is not None:
        settings["gradient_checkpointing"] = str(order.checkpointing).lower()
    return settings


if __name__ == "__main__":
    main(read_order())
