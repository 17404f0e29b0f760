# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Seconds that ms-swift takes from the call to the tokenised data set. Run in its own environment (peers.sh)."""

import json
import sys
import time
from pathlib import Path

from swift.pipelines.train.sft import SwiftSft


def main(folder: Path) -> None:
    """Measure one cold preparation of rows.json."""
    job = SwiftSft(
        [
            *("--model", str(folder / "model"), "--model_type", "qwen3", "--template", "qwen3"),
            *("--dataset", str(folder / "rows.json"), "--split_dataset_ratio", "0", "--max_length", "2048"),
            *("--dataset_num_proc", "2", "--lazy_tokenize", "false", "--load_from_cache_file", "false"),
            *("--output_dir", str(folder / "out"), "--report_to", "none", "--torch_dtype", "float32"),
        ]
    )
    start = time.perf_counter()
    rows, _ = job._prepare_dataset()
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "rows": len(rows), "tokens": sum(len(row["input_ids"]) for row in rows)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
