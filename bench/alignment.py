# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What the 135M model learns from preferences: how often it prefers the better of two held-out answers, ties half.

    python bench/alignment.py [--pairs FILE] [--cells dpo_0 kto …] [--work FOLDER] [--budget_minutes 60]

100 pairs are held out, of the bundled set or of a file in ShareGPT's layout; the others are trained on. A policy
prefers the answer whose log-prob has grown more against the model before training (which prefers neither: 50 %); ORPO
and SimPO also by their own reward, the mean log-prob, for which the cell `before` has the figures without training.
Beside them stand rules that understand nothing: the longer answer, and the answer that begins as chosen ones did.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cells import Cell, run_cells

from tunesmith.config.load import load_config
from tunesmith.jobs import train

_PAIRS = Path(__file__).resolve().parents[1] / "data" / "preference.jsonl"
_NUM_HELD_OUT = 100
_MODEL = "smollm2-135m"
_SHARED: Mapping[str, Any] = {
    "model_name_or_path": _MODEL,
    "finetuning_type": "lora",
    "lora_rank": 8,
    "lora_target": "all",
    "cutoff_len": 512,
    "per_device_eval_batch_size": 8,
    "use_cpu": True,
    "bf16": True,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
}
_TRAINING: Mapping[str, Any] = {
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 1,
    "learning_rate": 3.0e-4,
    "lr_scheduler_type": "cosine",
    "warmup_ratio": 0.1,
    "logging_steps": 5,
}
# Feedback makes two rows of a pair, so half as many passes are as many steps.
_METHODS: Mapping[str, Mapping[str, Any]] = {
    "dpo": {"stage": "dpo", "dataset": "pairs", "num_train_epochs": 4},
    "kto": {"stage": "kto", "dataset": "feedback", "num_train_epochs": 2},
    "orpo": {"stage": "orpo", "dataset": "pairs", "num_train_epochs": 4},
    "simpo": {"stage": "simpo", "dataset": "pairs", "num_train_epochs": 4, "pref_beta": 2.0},
    "rm": {"stage": "rm", "dataset": "pairs", "num_train_epochs": 4},
}
_CELLS = ("before", "dpo_0", "kto", "orpo", "simpo", "rm", "dpo_1", "dpo_2")


def main() -> None:
    """Measure all cells that are not there yet and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", default=list(_CELLS), choices=_CELLS)
    parser.add_argument("--pairs", type=Path, default=_PAIRS, help="pairs as the bundled set or ShareGPT has them")
    parser.add_argument("--work", type=Path, help="folder for data and adapters; unset: a temporary one")
    parser.add_argument("--steps", type=int, help="end training after so many steps, to try the script")
    parser.add_argument("--results", default="alignment", help="folder below bench/results")
    parser.add_argument("--budget_minutes", type=float, default=60)
    chosen = parser.parse_args()
    work = chosen.work or Path(tempfile.mkdtemp(prefix="alignment-"))
    write_data(work, chosen.pairs)
    cells = [Cell(name=name, measure=partial(_measure, name, work, chosen.steps)) for name in chosen.cells]
    run_cells(chosen.results, cells, budget_minutes=chosen.budget_minutes)


def write_data(work: Path, pairs: Path) -> None:
    """Divide the pairs, and write those for training also as answers that are liked or not."""
    text = pairs.read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()] if pairs.suffix == ".jsonl" else json.loads(text)
    random.Random(0).shuffle(rows)
    trained, held_out = rows[:-_NUM_HELD_OUT], rows[-_NUM_HELD_OUT:]
    columns = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"}
    described = {"formatting": "sharegpt", "ranking": True, "columns": columns}
    info = {
        "pairs": {"file_name": "pairs.jsonl", **described},
        "held_out": {"file_name": "held_out.jsonl", **described},
        "feedback": {
            "file_name": "feedback.jsonl",
            "formatting": "sharegpt",
            "columns": {"messages": "conversations", "kto_tag": "kto_tag"},
        },
    }
    feedback = [
        {"conversations": [*row["conversations"], row[side]], "kto_tag": side == "chosen"}
        for row in map(_as_sharegpt, trained)
        for side in ("chosen", "rejected")
    ]
    work.mkdir(parents=True, exist_ok=True)
    for name, made in (
        ("pairs", map(_as_sharegpt, trained)), ("held_out", map(_as_sharegpt, held_out)), ("feedback", feedback),
    ):  # fmt: skip
        (work / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    (work / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")


def _as_sharegpt(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give a pair in ShareGPT's layout; the bundled set has one instruction and two texts."""
    if "conversations" in row:
        return row
    answers = {side: {"from": "gpt", "value": row[side]} for side in ("chosen", "rejected")}
    return {"conversations": [{"from": "human", "value": row["instruction"]}], **answers}


def _measure(name: str, work: Path, steps: int | None) -> Mapping[str, Any]:
    if name == "before":
        return {"implicit": judged(work, None), "mean_logp": judged(work, None, stage="simpo", pref_beta=2.0)}
    method, _, seed = name.partition("_")
    began = time.monotonic()
    trained = _train(method, work / name, work, seed=int(seed or 0), steps=steps)
    seconds = time.monotonic() - began
    found = {"train": trained, "train_seconds": round(seconds, 1)}
    if method == "rm":
        return {**found, "held_out": trained["eval"]}
    found["held_out"] = judged(work, work / name)
    if method in ("orpo", "simpo"):
        found["held_out_by_mean_logp"] = trained["eval"]
    return found


def _train(method: str, folder: Path, work: Path, *, seed: int, steps: int | None) -> dict[str, Any]:
    """Train; the losses by mean log-probs and reward models are judged in the same run, by their own reward."""
    keys = {**_SHARED, **_TRAINING, **_METHODS[method], "seed": seed, "output_dir": str(folder)}
    keys |= {"dataset_dir": str(work), "overwrite_output_dir": True}
    if steps is not None:
        keys["max_steps"] = steps
    if method in ("orpo", "simpo", "rm"):
        keys |= {"eval_dataset": "held_out", "do_train": True, "do_eval": True}
    result = train.run(load_config(keys, command="train"))
    kept = ("steps", "tokens", "seconds", "train_loss", "reference", "eval")
    return {**{name: result[name] for name in kept}, "curve": curve(folder)}


def judged(work: Path, adapter: Path | None, **keys: Any) -> dict[str, float]:
    """Judge a policy on the held-out pairs; implicit rewards are against the model before training."""
    asked = {
        **_SHARED, "stage": "dpo", "do_train": False, "do_eval": True, "eval_dataset": "held_out",
        "dataset_dir": str(work), "output_dir": str(work / "judged"), "overwrite_output_dir": True, **keys,
    }  # fmt: skip
    if adapter is not None:
        asked |= {"adapter_name_or_path": str(adapter), "ref_model": _MODEL}
    result = train.run(load_config(asked, command="train"))
    metrics: dict[str, float] = result["eval"]
    return {name: value for name, value in metrics.items() if not name.endswith(("runtime", "per_second"))}


def curve(folder: Path) -> Sequence[Mapping[str, float]]:
    """Read what was logged of the loss and the rewards."""
    lines = (folder / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
    wanted = ("loss", "rewards/accuracies", "rewards/margins", "kl")
    entries = [entry for entry in map(json.loads, lines) if "loss" in entry]
    return [{name: round(entry[name], 4) for name in wanted if name in entry} for entry in entries]


if __name__ == "__main__":
    main()
