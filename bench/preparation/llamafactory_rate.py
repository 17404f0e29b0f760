# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Seconds that LLaMA-Factory takes from the call to the tokenised data set. Run in its own environment (peers.sh)."""

import json
import sys
import time
from pathlib import Path

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer


def main(folder: Path) -> None:
    """Measure one cold preparation of rows.json."""
    description = {"rows": {"file_name": "rows.json"}}
    (folder / "dataset_info.json").write_text(json.dumps(description), encoding="utf-8")
    model_args, data_args, training_args, _, _ = get_train_args(
        {
            "model_name_or_path": str(folder / "model"),
            "stage": "sft",
            "do_train": True,
            "finetuning_type": "lora",
            "dataset": "rows",
            "dataset_dir": str(folder),
            "template": "qwen",
            "cutoff_len": 2048,
            "preprocessing_num_workers": 2,
            "preprocessing_batch_size": 1000,
            "overwrite_cache": True,
            "output_dir": str(folder / "out"),
            "report_to": "none",
        }
    )
    tokenizer = load_tokenizer(model_args)["tokenizer"]
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    start = time.perf_counter()
    module = get_dataset(template, model_args, data_args, training_args, stage="sft", tokenizer=tokenizer)
    seconds = time.perf_counter() - start
    rows = module["train_dataset"]
    print(json.dumps({"seconds": seconds, "rows": len(rows), "tokens": sum(map(len, rows["input_ids"]))}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
