# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Runs one system on one order in a process of its own and reads its stamps; also keeps a core busy, when asked."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cells import CellFailed
from training.order import LORA, Order

HERE = Path(__file__).parent
SCRIPTS = {"llamafactory": "llamafactory_steps.py", "ms-swift": "swift_steps.py", "trl": "trl_steps.py"}
# Each system waits, allocates and counts threads as it does by default.
_THREADING = ("OMP_", "GOMP_", "KMP_", "MKL_", "MALLOC_", "LD_PRELOAD", "TORCHINDUCTOR_")


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the peers' environments are, and where rows, caches and runs are kept."""

    environments: Path
    work: Path
    model: Path
    keeps_threading: bool = False
    compiles: bool = True

    def has(self, system: str) -> bool:
        """Say whether a system can run: ours always, a peer with its environment."""
        return system == "tunesmith" or (self.environments / system / "done").is_file()

    def caches(self, system: str) -> Path:
        """Give the folder of a system's caches."""
        return self.work / "caches" / system

    def order(self, name: str, steps: int, **settings: Any) -> Order:
        """Give the order of a run with a folder of its own."""
        folder = self.work / "runs" / name
        folder.mkdir(parents=True, exist_ok=True)
        return Order(model=str(self.model), folder=str(folder), steps=steps, keys={}, **settings)


def train(system: str, order: Order, places: Places, *, warmup: int, profiles: bool = False) -> dict[str, Any]:
    """Train an order with a system and give its stamps."""
    shutil.rmtree(order.place / "out", ignore_errors=True)
    stamps = order.place / "stamps.json"
    stamps.unlink(missing_ok=True)
    environment = {**environment_of(system, places), "BENCH_STAMPS": str(stamps), "BENCH_WARMUP": str(warmup)}
    if profiles:
        environment["BENCH_PROFILE"] = "1"
    with (order.place / "output.txt").open("w", encoding="utf-8") as output:
        environment["BENCH_STARTED"] = repr(time.time())
        command = _command(system, order, places)
        subprocess.run(command, env=environment, stdout=output, stderr=output, cwd=order.place, check=False)
    if not stamps.is_file():
        tail = (order.place / "output.txt").read_text(encoding="utf-8", errors="replace")[-3000:]
        raise CellFailed(f"{' '.join(command)} gave no stamps:\n{tail}")
    return with_rates(json.loads(stamps.read_text(encoding="utf-8")))


def _command(system: str, order: Order, places: Places) -> list[str]:
    if system == "tunesmith":
        run = order.place / "run.yaml"
        run.write_text(yaml.safe_dump(run_file(order), sort_keys=False), encoding="utf-8")
        return [sys.executable, "-m", "tunesmith", "train", str(run)]
    python = places.environments / system / "bin" / "python"
    return [str(python), str(HERE / SCRIPTS[system]), str(order.save())]


def run_file(order: Order) -> dict[str, Any]:
    """Write an order as a run file of ours."""
    keys: dict[str, Any] = {
        "stage": order.stage,
        "model_name_or_path": order.model,
        "dataset": str(order.place / ("alpaca.json" if order.stage == "sft" else "pairs.json")),
        "cutoff_len": order.cutoff,
        "packing": order.packing,
        "disable_shuffling": True,
        "finetuning_type": "full" if order.full else "lora",
        "output_dir": str(order.place / "out"),
        "per_device_train_batch_size": order.batch,
        "gradient_accumulation_steps": order.accumulation,
        "learning_rate": order.learning_rate,
        "lr_scheduler_type": "linear",
        "max_steps": order.steps,
        "seed": order.seed,
        "bf16": order.dtype == "bf16",
        "logging_steps": 1,
        "save_strategy": "no",
        "plugins": ["tunesmith_stamps"],
        **order.keys,
    }
    if not order.full:
        keys |= {"lora_rank": LORA["rank"], "lora_alpha": LORA["alpha"], "lora_target": "all"}
    if order.checkpointing is not None:
        keys["gradient_checkpointing"] = order.checkpointing
    return keys


def environment_of(system: str, places: Places) -> dict[str, str]:
    """Give each system caches of its own, which last: data are prepared and code is compiled once."""
    dropped = () if places.keeps_threading else _THREADING
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    caches = places.caches(system)
    temporary = caches / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    named = ("HF_HOME", "MODELSCOPE_CACHE", "XDG_CACHE_HOME", "TUNESMITH_CACHE")
    own = {**dict.fromkeys(named, str(caches)), "TMPDIR": str(temporary), "HF_HUB_OFFLINE": "1"}
    paths = [str(HERE), os.environ.get("PYTHONPATH", "")] if system == "tunesmith" else [str(HERE)]
    return {**kept, **own, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "TQDM_DISABLE": "1"}


def with_rates(stamps: Mapping[str, Any]) -> dict[str, Any]:
    """Add the tokens in a second, of a core and of the clock."""
    tokens = stamps["tokens"]
    return {
        **stamps,
        "tokens_per_cpu_second": tokens / stamps["cpu_seconds"],
        "tokens_per_second": tokens / stamps["seconds"],
    }


@contextmanager
def busy_core(*, is_wanted: bool) -> Iterator[None]:
    """Keep one core busy with another process."""
    if not is_wanted:
        yield
        return
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        os.sched_setaffinity(busy.pid, [max(os.sched_getaffinity(0))])
        yield
    finally:
        busy.kill()
        busy.wait()
