# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Trains an order with LLaMA-Factory, stamped. Run in its own environment (peers.sh)."""

import json
from typing import Any

import stamps
from llamafactory.train.tuner import run_exp
from order import LORA, SYSTEM, Order, read_order


def main(order: Order) -> None:
    """Train to the end; the stamps end the process."""
    stamps.install()
    (order.place / "dataset_info.json").write_text(json.dumps({"rows": _description(order)}), encoding="utf-8")
    run_exp(_settings(order))


def _description(order: Order) -> dict[str, Any]:
    if order.stage == "sft":
        return {"file_name": "alpaca.json"}
    columns = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}
    return {"file_name": "pairs.json", "ranking": True, "formatting": "sharegpt", "columns": columns}


def _settings(order: Order) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "model_name_or_path": order.model,
        "stage": order.stage,
        "do_train": True,
        "finetuning_type": "full" if order.full else "lora",
        "dataset": "rows",
        "dataset_dir": order.folder,
        "template": "smollm2",
        "default_system": SYSTEM,
        "cutoff_len": order.cutoff,
        "disable_shuffling": True,
        "output_dir": str(order.place / "out"),
        "per_device_train_batch_size": order.batch,
        "gradient_accumulation_steps": order.accumulation,
        "learning_rate": order.learning_rate,
        "lr_scheduler_type": "linear",
        "max_steps": order.steps,
        "seed": order.seed,
        "bf16": order.dtype == "bf16",
        "use_cpu": True,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "packing": order.packing,
        **order.keys,
    }
    if not order.full:
        settings |= {"lora_rank": LORA["rank"], "lora_alpha": LORA["alpha"], "lora_target": "all"}
    if order.checkpointing is not None:
        settings["disable_gradient_checkpointing"] = not order.checkpointing
    return settings


if __name__ == "__main__":
    main(read_order())
