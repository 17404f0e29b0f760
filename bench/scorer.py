# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Peak memory of loss and backward under a frozen head, by vocabulary: each cell is a process of its own.

`python bench/scorer.py` writes bench/results/scorer/<vocabulary>-<system>.json and prints how flat the scorer is.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch
from cells import Cell, CellFailed, run_cells
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from tunesmith.models.scores import score_states

VOCABULARIES = (32_000, 128_256, 262_144)
NUM_TOKENS, WIDTH = 2048, 1024
CELL_SECONDS = 600


def main() -> None:
    """Measure the cells that are missing, or one cell in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget_minutes", type=float, default=10)
    parser.add_argument("--cell", nargs=2, metavar=("VOCABULARY", "SYSTEM"))
    arguments = parser.parse_args()
    if arguments.cell:
        print(json.dumps(measure(int(arguments.cell[0]), arguments.cell[1])))
        return
    cells = [
        Cell(name=f"{vocabulary}-{system}", measure=partial(_in_child, vocabulary, system))
        for system in ("scorer", "plain")
        for vocabulary in VOCABULARIES
    ]
    results = run_cells("scorer", cells, budget_minutes=arguments.budget_minutes)
    peaks = [results[name]["peak_bytes"] for vocabulary in VOCABULARIES if (name := f"{vocabulary}-scorer") in results]
    if len(peaks) == len(VOCABULARIES):
        print(f"the scorer's largest peak over its smallest: {max(peaks) / min(peaks):.3f}")


def _in_child(vocabulary: int, system: str) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).resolve()), "--cell", str(vocabulary), system]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CELL_SECONDS, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise CellFailed(f"{error}: {str(error.stderr)[-300:]}") from error
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(vocabulary: int, system: str) -> dict[str, Any]:
    """Score and go back once on a small input to warm up, then on the real one under a watch."""
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=vocabulary, hidden_size=WIDTH, num_hidden_layers=1, num_attention_heads=8)
    model: Any = LlamaForCausalLM(config).to(torch.bfloat16).requires_grad_(False)
    score = plain if system == "plain" else partial(score_states, model)
    states = torch.randn(NUM_TOKENS, WIDTH, dtype=torch.bfloat16, requires_grad=True)
    targets = torch.randint(0, vocabulary, (NUM_TOKENS,))
    # One row only: memory that stays after the warm-up would be taken for the process's own.
    _step(model, score, states[:1].detach().requires_grad_(), targets[:1])
    with Watch() as watch:
        start = time.process_time()
        gradient = _step(model, score, states, targets)
        seconds = time.process_time() - start
    return {
        "vocabulary": vocabulary,
        "system": system,
        "tokens": NUM_TOKENS,
        "width": WIDTH,
        "dtype": "bfloat16",
        "peak_bytes": watch.peak,
        "cpu_seconds": round(seconds, 3),
        "threads": torch.get_num_threads(),
        "gradient_norm": float(gradient.float().norm()),
        "torch": torch.__version__,
    }


def _step(model: Any, score: Any, states: Tensor, targets: Tensor) -> Tensor:
    logps = plain(model, states, targets) if score is plain else score(states, targets).logps_N
    (gradient,) = torch.autograd.grad(-logps.mean(), states)
    return gradient


def plain(model: Any, states: Tensor, targets: Tensor) -> Tensor:
    """Take all logits and their float32 log-softmax, as a plain loop does."""
    logits = model.lm_head(states).float()
    return torch.log_softmax(logits, dim=-1).gather(-1, targets[:, None])[:, 0]


class Watch:
    """Samples this process's resident memory and keeps the most it had beyond the beginning."""

    def __init__(self) -> None:
        self._process, self._is_over = psutil.Process(), threading.Event()
        self.peak = 0

    def __enter__(self) -> "Watch":
        self._before = self._process.memory_info().rss
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def _sample(self) -> None:
        while not self._is_over.wait(0.001):
            self.peak = max(self.peak, self._process.memory_info().rss - self._before)

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()


if __name__ == "__main__":
    main()
