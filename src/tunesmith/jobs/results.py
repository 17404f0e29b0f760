# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What a finished run leaves in its output folder: the model, results as JSON, the state, the loss curves."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunesmith.config.sections.training import TrainingSection
from tunesmith.core.files import sync_folder, sync_tree, write_text_atomic
from tunesmith.training.checkpoints import list_checkpoints, refuse_full_disk
from tunesmith.training.plots import plot_curves
from tunesmith.training.trainer import TunesmithTrainer

_WEIGHTS = (".safetensors", ".safetensors.index.json")


def publish_model(trainer: TunesmithTrainer, folder: Path) -> None:
    """Write the trained weights with tokenizer and template into the output folder, the weights last.

    Everything is complete and flushed in a hidden folder first; a kill on the way leaves no set of files that loads.
    """
    with (
        refuse_full_disk(folder),
        tempfile.TemporaryDirectory(dir=folder, prefix=".result.partial-", ignore_cleanup_errors=True) as name,
    ):
        written = Path(name)
        trainer.write_model(written)
        sync_tree(written)
        for path in sorted(written.iterdir(), key=lambda path: (path.name.endswith(_WEIGHTS), path.name)):
            path.replace(folder / path.name)
        sync_folder(folder)


def train_metrics(trainer: TunesmithTrainer, training: TrainingSection) -> dict[str, Any]:
    """Give the totals of the whole run under transformers' names, and ours."""
    totals = trainer.totals()
    metrics = {
        "epoch": trainer.state.epoch,
        "total_flos": trainer.state.total_flos,
        "train_loss": totals.mean_loss,
        "train_runtime": round(totals.seconds, 4),
        "train_samples": totals.rows,
        "train_samples_per_second": round(totals.rate(totals.rows), 3),
        "train_steps": totals.steps,
        "train_steps_per_second": round(totals.rate(totals.steps), 3),
        "train_tokens": totals.tokens,
        "train_supervised_tokens": totals.supervised_tokens,
        "effective_tokens_per_sec": round(totals.rate(totals.tokens), 3),
    }
    if training.include_num_input_tokens_seen not in (False, "no"):
        metrics["num_input_tokens_seen"] = trainer.state.num_input_tokens_seen
    return metrics


def write_metrics(folder: Path, split: str, metrics: Mapping[str, Any]) -> None:
    """Write `<split>_results.json` and add the metrics to `all_results.json`, as transformers does."""
    write_text_atomic(folder / f"{split}_results.json", _to_text(metrics))
    path = folder / "all_results.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    write_text_atomic(path, _to_text({**known, **metrics}))


def write_reference(trainer: TunesmithTrainer, folder: Path) -> None:
    """Write which reference a run compared with, and what step 0 showed; nothing where it compared with none."""
    described = trainer.comparison.describe()
    if described is not None:
        write_text_atomic(folder / "reference.json", _to_text(described))


def write_plots(trainer: TunesmithTrainer, folder: Path) -> list[Path]:
    """Draw the curves of training loss, and of the loss and accuracy of each evaluation set."""
    curves = ("_loss", "_accuracy")
    evaluated = sorted(name for name in trainer.eval_metric_names() if name.endswith(curves))
    return plot_curves(trainer.state.log_history, ["loss", *evaluated], folder)


def training_result(trainer: TunesmithTrainer, folder: Path, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Give the totals of a run for the JSON result."""
    return {
        "output_dir": str(folder),
        "steps": metrics["train_steps"],
        "epochs": trainer.state.epoch,
        "train_loss": metrics["train_loss"],
        "samples": metrics["train_samples"],
        "tokens": metrics["train_tokens"],
        "supervised_tokens": metrics["train_supervised_tokens"],
        "seconds": metrics["train_runtime"],
        "samples_per_second": metrics["train_samples_per_second"],
        "checkpoints": [str(path) for _, path in list_checkpoints(folder)],
        "best_checkpoint": trainer.state.best_model_checkpoint,
    }


def _to_text(metrics: Mapping[str, Any]) -> str:
    return json.dumps(dict(metrics), indent=4, sort_keys=True) + "\n"
