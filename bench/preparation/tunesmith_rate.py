# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Seconds and memory that tunesmith takes to prepare data: `rate`, `cached`, `memory` and `stream`.

    python tunesmith_rate.py rate|cached FOLDER        FOLDER/rows.json, FOLDER/model
    python tunesmith_rate.py memory|stream FOLDER FILE.jsonl

The cache is that of TUNESMITH_CACHE; `cached` prepares in another process first.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from tunesmith.config.load import load_config
from tunesmith.config.run import RunConfig
from tunesmith.data.collate import collate
from tunesmith.data.pipeline import PreparedData, prepare
from tunesmith.data.plan import PlanRules, plan_epoch
from tunesmith.data.stream import TrainStream
from tunesmith.data.stream_windows import WindowStart, read_windows
from tunesmith.templates.chat import load_template
from tunesmith.templates.tokenizer import load_tokenizer
from tunesmith.training.stream_batches import StreamedBatches


def main(what: str, folder: Path, file: Path) -> None:
    """Measure one thing and print it as JSON."""
    measures: Mapping[str, Callable[[Path, Path], dict[str, Any]]] = {
        "rate": _rate,
        "cached": _cached,
        "memory": _memory,
        "stream": _stream,
    }
    print(json.dumps(measures[what](folder, file)))


def _rate(folder: Path, file: Path) -> dict[str, Any]:
    data, seconds = _timed(folder, file, num_workers=2)
    assert data.train is not None and data.made is not None
    tokens = int(data.train.lengths.sum())
    return {"seconds": seconds, "rows": len(data.train), "tokens": tokens, "workers": data.made.num_workers}


def _cached(folder: Path, file: Path) -> dict[str, Any]:
    """Prepare in another process, then measure from the call to the first batch."""
    subprocess.run([sys.executable, __file__, "rate", str(folder), str(file)], check=True, capture_output=True)
    config = _config(folder, file, num_workers=2)
    tokenizer = load_tokenizer(folder / "model")
    template = load_template(tokenizer, name=None, folder=folder / "model")
    start = time.perf_counter()
    data = prepare(config, tokenizer=tokenizer, template=template, row_kind="supervised")
    assert data.train is not None and data.made is not None
    plan = plan_epoch(data.train.lengths, PlanRules(seed=1, batch_rows=8), epoch=0)
    batch = collate([data.train[row] for row in plan[0]], layout="packed", pad_id=0)
    seconds = time.perf_counter() - start
    assert batch.num_tokens and not data.made.num_made, "the cache was not used"
    return {"seconds": seconds, "rows": len(data.train), "reused": data.made.num_reused}


def _memory(folder: Path, file: Path) -> dict[str, Any]:
    """Measure the most memory of this process and its workers that no file backs, sampled while it prepares."""
    pid = os.fork()
    if not pid:
        data, seconds = _timed(folder, file, num_workers=2)
        assert data.train is not None
        (folder / "measured.json").write_text(
            json.dumps({"seconds": seconds, "rows": len(data.train)}), encoding="utf-8"
        )
        os._exit(0)
    peak = {"main": 0, "worker": 0}
    process = psutil.Process(pid)
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        peak["main"] = max(peak["main"], _private_bytes(process))
        for child in process.children(recursive=True):
            peak["worker"] = max(peak["worker"], _private_bytes(child))
        time.sleep(0.05)
    os.waitpid(pid, 0)
    measured: dict[str, Any] = json.loads((folder / "measured.json").read_text(encoding="utf-8"))
    return {**measured, "peak_bytes": peak["main"], "peak_worker_bytes": peak["worker"]}


def _stream(folder: Path, file: Path) -> dict[str, Any]:
    """Measure how long a stream takes from a saved position at about row 1,000,000 to its next batch.

    The position is found by reading there without encoding; the rows of the batch are compared with those of a stream
    that read on from the window's start.
    """
    config = _config(folder, file, num_workers=1, streaming=True, max_steps=10, packing=False)
    tokenizer = load_tokenizer(folder / "model")
    template = load_template(tokenizer, name=None, folder=folder / "model")
    stream = prepare(config, tokenizer=tokenizer, template=template, row_kind="supervised").stream
    assert stream is not None
    recipe, number = stream.recipe, 1_000_000 // stream.recipe.windows.size
    windows = read_windows(recipe.sets, recipe.windows, WindowStart.first(1))
    start = next(window.start for window in windows if window.start.number == number)
    rules = PlanRules(seed=1, batch_rows=8)
    undisturbed = _batches_from(stream, start, rules)
    expected = [row.input_ids.tolist() for number in range(400) for row in undisturbed[number]]
    position = json.loads(json.dumps(undisturbed.position()))
    following = [row.input_ids.tolist() for row in undisturbed[400]]
    undisturbed.close()
    began = time.perf_counter()
    resumed = StreamedBatches(stream, rules, num_batches=10**6)
    resumed.restore(position)
    rows = resumed[position["micro_batches"]]
    seconds = time.perf_counter() - began
    assert [row.input_ids.tolist() for row in rows] == following and len(expected) == 3200
    resumed.close()
    return {"seconds": seconds, "rows": start.number * recipe.windows.size + 3200}


def _batches_from(stream: TrainStream, start: WindowStart, rules: PlanRules) -> StreamedBatches:
    batches = StreamedBatches(stream, rules, num_batches=10**6)
    batches.restore({**batches.position(), "window": start.to_json(), "micro_batches": 0})
    return batches


def _private_bytes(process: psutil.Process) -> int:
    try:
        memory = process.memory_info()
    except psutil.NoSuchProcess:
        return 0
    return int(memory.rss - memory.shared)


def _timed(folder: Path, file: Path, *, num_workers: int) -> tuple[PreparedData, float]:
    config = _config(folder, file, num_workers=num_workers)
    tokenizer = load_tokenizer(folder / "model")
    template = load_template(tokenizer, name=None, folder=folder / "model")
    start = time.perf_counter()
    data = prepare(config, tokenizer=tokenizer, template=template, row_kind="supervised")
    return data, time.perf_counter() - start


def _config(folder: Path, file: Path, *, num_workers: int, **keys: Any) -> RunConfig:
    return load_config(
        {
            "stage": "sft",
            "model_name_or_path": str(folder / "model"),
            "dataset": str(file),
            "cutoff_len": 2048,
            "preprocessing_num_workers": num_workers,
            "output_dir": str(folder / "out"),
            **keys,
        },
        command="train",
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3] if len(sys.argv) > 3 else Path(sys.argv[2]) / "rows.json"))
