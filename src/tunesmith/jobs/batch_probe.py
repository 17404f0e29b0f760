# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The child process that tries batches on the CPU under a memory limit; `jobs/batch_search.py` starts it.

It reads the request from one file and appends a word for each size to another, so that its end leaves what it knew.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import yaml

from tunesmith.checks.context import Parts
from tunesmith.config.load import load_config
from tunesmith.core.optional import import_by_name
from tunesmith.core.types import RowRef, TokenRow
from tunesmith.data.collate import collate
from tunesmith.jobs.assembly import build_model
from tunesmith.jobs.batch_search import trial_of
from tunesmith.models.load import resolve_model
from tunesmith.models.variants import with_changes


def main(words: Sequence[str]) -> int:
    """Try the sizes of the request in order until one fits."""
    request: Mapping[str, Any] = json.loads(Path(words[0]).read_text(encoding="utf-8"))
    config = load_config(yaml.safe_load(request["config"]), command=request["command"])
    model = config.model
    assert model.model_name_or_path is not None, "the parent loaded this model"
    cache = Path(model.cache_dir) if model.cache_dir is not None else None
    folder = with_changes(config, resolve_model(model.model_name_or_path, cache, revision=model.model_revision))
    torch.manual_seed(config.run.seed)
    built = build_model(config, Parts(folder=folder), saved_choices={"layout": request["layout"]})
    trial = trial_of(config, built)
    rows = [read_row(row) for row in request["rows"]]
    limit_memory(request["limit_bytes"])
    with Path(words[1]).open("a", encoding="utf-8") as answers:
        for count in request["counts"]:
            fits = trial.fits(collate(rows[:count], layout=request["layout"], pad_id=request["pad_id"]))
            answers.write("fits\n" if fits else "fails\n")
            answers.flush()
            if fits:
                break
    return 0


def read_row(row: Mapping[str, Any]) -> TokenRow:
    """Read a row of the request."""
    return TokenRow(
        source=RowRef(dataset="", file="", row=0),
        input_ids=np.asarray(row["input_ids"], dtype=np.int32),
        weights=np.asarray(row["weights"], dtype=np.float32),
        segment_lengths=tuple(row["segment_lengths"]),
        segment_parents=tuple(row["segment_parents"]),
        segment_names=tuple(row["segment_names"]),
        label=row["label"],
    )


def limit_memory(limit_bytes: int) -> None:
    """Let allocations beyond the limit fail, where the system can: the address space may grow by what is left."""
    if sys.platform != "linux":
        return
    resource: Any = import_by_name("resource")
    memory = psutil.Process().memory_info()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (memory.vms + max(0, limit_bytes - memory.rss), hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
