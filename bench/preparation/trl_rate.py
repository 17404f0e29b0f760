# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Seconds that TRL takes from the call to the tokenised data set. Run in its own environment (peers.sh)."""

import json
import sys
import time
from pathlib import Path

import datasets
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer


class TimedTrainer(SFTTrainer):
    """A trainer that notes how long it prepared its data."""

    seconds = 0.0

    def _prepare_dataset(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        start = time.perf_counter()
        prepared = super()._prepare_dataset(*args, **kwargs)
        TimedTrainer.seconds = time.perf_counter() - start
        return prepared


def main(folder: Path) -> None:
    """Measure one cold preparation of pairs.jsonl: prompt and completion, as TRL's users write them."""
    datasets.disable_caching()
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    start = time.perf_counter()
    rows = datasets.load_dataset("json", data_files=str(folder / "pairs.jsonl"), split="train")
    seconds = time.perf_counter() - start
    config = SFTConfig(
        output_dir=str(folder / "out"), dataset_num_proc=2, max_length=2048, report_to="none", use_cpu=True, bf16=False
    )
    trainer = TimedTrainer(model=model, args=config, train_dataset=rows, processing_class=tokenizer)
    prepared = trainer.train_dataset
    seconds += TimedTrainer.seconds
    tokens = sum(map(len, prepared["input_ids"]))
    print(json.dumps({"seconds": seconds, "rows": len(prepared), "tokens": tokens}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
