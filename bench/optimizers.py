# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What optimizers keep beside the weights: measured bytes on full fine-tuning of a model, against AdamW's.

    python bench/optimizers.py [--model smollm2-135m] [--steps 2] [--budget_minutes 30]

Each optimizer runs in a process of its own: a few steps in float32 on random tokens, then its whole state is counted.
Writes bench/results/optimizers/*.json and docs/reference/optimizers.md. How well they learn is not measured here.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch
from cells import RESULTS, Cell, run_cells
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from tunesmith.config.load import load_config
from tunesmith.config.run import RunConfig
from tunesmith.jobs.assembly import build_optimizer, run_arguments
from tunesmith.models.load import load_model, resolve_model
from tunesmith.models.tuners.full import FullParams, FullTuner

# Name of the cell → keys of the run, and what the table says of it. Ranks are those of the papers' fine-tuning.
OPTIMIZERS: dict[str, tuple[dict[str, Any], str]] = {
    "adamw": ({"optim": "adamw_torch"}, "AdamW, `optim: adamw_torch`"),
    "galore": ({"use_galore": True, "galore_rank": 128}, "GaLore, rank 128"),
    "galore_layerwise": ({"use_galore": True, "galore_rank": 128, "galore_layerwise": True}, "GaLore, layer-wise"),
    "apollo": ({"use_apollo": True, "apollo_rank": 128}, "APOLLO, rank 128"),
    "apollo_rank_1": ({"use_apollo": True, "apollo_rank": 1, "apollo_scale_type": "tensor"}, "APOLLO-Mini, rank 1"),
    "adam_mini": ({"use_adam_mini": True}, "Adam-mini"),
    "adamw_8bit": ({"optim": "adamw_8bit"}, "8-bit AdamW (bitsandbytes), `optim: adamw_8bit`"),
    "muon": ({"use_muon": True}, "Muon"),
    "adafactor": ({"optim": "adafactor"}, "Adafactor"),
    "lion": ({"optim": "lion_32bit"}, "Lion"),
    "badam": ({"use_badam": True}, "BAdam, one layer at a time"),
    "badam_ratio": ({"use_badam": True, "badam_mode": "ratio"}, "BAdam, 5 % of each weight"),
    "lisa": ({"lisa_activated_layers": 2}, "LISA, 2 layers at a time"),
    "lomo": ({"optim": "lomo"}, "LOMO"),
}
_TOKENS = 64
_PAGE = Path(__file__).parent.parent / "docs" / "reference" / "optimizers.md"


def main() -> None:
    """Measure all cells that are not there yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--budget_minutes", type=float, default=30)
    parser.add_argument("--cell", choices=sorted(OPTIMIZERS), help="measure this one here and print it")
    chosen = parser.parse_args()
    if chosen.cell:
        print(json.dumps(_measure(chosen.cell, chosen.model, chosen.steps)))
        return
    cells = [Cell(name=name, measure=partial(_in_a_process, name, chosen.model, chosen.steps)) for name in OPTIMIZERS]
    run_cells("optimizers", cells, budget_minutes=chosen.budget_minutes)
    _PAGE.write_text(page(), encoding="utf-8", newline="\n")


def _in_a_process(name: str, model: str, steps: int) -> Mapping[str, Any]:
    words = [sys.executable, __file__, "--cell", name, "--model", model, "--steps", str(steps)]
    done = subprocess.run(words, check=True, capture_output=True, text=True, encoding="utf-8")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _measure(name: str, model_name: str, steps: int) -> dict[str, Any]:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    config = _configured(name, model_name)
    model = load_model(resolve_model(model_name), dtype=torch.float32, device=torch.device("cpu"))
    FullTuner(FullParams()).attach(model)
    args = run_arguments(config, has_evaluation=False)
    num_weights = sum(weight.numel() for weight in model.parameters())
    part = build_optimizer(config)
    optimizer = _named(model, args) if part is None else part.build(model, args)
    seconds = [_step(model, optimizer, number) for number in range(steps)]
    state, gradients = state_bytes(optimizer.state_dict()), _gradient_bytes(model)
    return {
        "state_bytes": state,
        "bytes_per_weight": state / num_weights,
        "gradient_bytes": gradients,
        "seconds_of_last_step": seconds[-1],
        "peak_memory_bytes": _peak(),
        "weights": num_weights,
        "tokens_of_a_step": _TOKENS,
        "keys": OPTIMIZERS[name][0],
        "model": model_name,
    }


def _configured(name: str, model_name: str) -> RunConfig:
    run = {"model_name_or_path": model_name, "dataset": "rows", "output_dir": "unused", "use_cpu": True}
    keys = {"finetuning_type": "full", "max_steps": 10, "max_grad_norm": 0.0, **OPTIMIZERS[name][0]}
    return load_config({**run, **keys}, command="train")


def _named(model: nn.Module, args: TrainingArguments) -> torch.optim.Optimizer:
    """Build the optimizer as transformers' trainer does, with its exceptions for embeddings."""
    return Trainer(model=model, args=args).create_optimizer()  # type: ignore[arg-type]


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, number: int) -> float:
    ids = torch.randint(0, 1000, (1, _TOKENS), generator=torch.Generator().manual_seed(number))
    model.train()
    start = time.perf_counter()
    optimizer.zero_grad(set_to_none=True)
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    return time.perf_counter() - start


def state_bytes(value: Any) -> int:
    """Count the bytes of all tensors in a state, those that a packed tensor is made of among them."""
    if isinstance(value, Tensor):
        if type(value) is not Tensor and type(value) is not nn.Parameter:
            names, _ = value.__tensor_flatten__()  # type: ignore[attr-defined]
            return sum(state_bytes(vars(value)[name]) for name in names)
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(map(state_bytes, value.values()))
    return sum(map(state_bytes, value)) if isinstance(value, list | tuple) else 0


def _gradient_bytes(model: nn.Module) -> int:
    return sum(
        weight.grad.numel() * weight.grad.element_size() for weight in model.parameters() if weight.grad is not None
    )


def _peak() -> int:
    memory = psutil.Process().memory_info()
    if sys.platform == "win32":
        return int(memory.peak_wset)
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if sys.platform == "linux" else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), int(memory.rss))


def page() -> str:
    """Write the table of the results that are there."""
    files = {name: RESULTS / "optimizers" / f"{name}.json" for name in OPTIMIZERS}
    found = {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.is_file()}
    base = found["adamw"]
    lines = [
        "<!-- Generated by bench/optimizers.py; do not edit. -->",
        "# What optimizers keep",
        "",
        f"Measured on full fine-tuning of {base['model']} ({base['weights']:,} weights in float32) on a CPU: bytes of",
        "the optimizer's state after the last of a few steps, its share of AdamW's, the gradients that are alive after",
        "a step, the largest memory of the whole process, and the time of a step that renews no projection.",
        f"A step has {base['tokens_of_a_step']} tokens, so its time is the optimizer's more than the model's.",
        "",
        "| optimizer | state, MB | of AdamW's | gradients, MB | peak of the process, MB | step, s |",
        "|---|---|---|---|---|---|",
    ]
    for name, result in found.items():
        share = 100 * result["state_bytes"] / base["state_bytes"]
        cells = (
            OPTIMIZERS[name][1],
            f"{result['state_bytes'] / 1e6:,.1f}",
            f"{share:.1f} %",
            f"{result['gradient_bytes'] / 1e6:,.1f}",
            f"{result['peak_memory_bytes'] / 1e6:,.0f}",
            f"{result['seconds_of_last_step']:.2f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
