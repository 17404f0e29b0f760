# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""`do_predict`: the model answers the evaluation rows; answers and score are written beside the other results."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from tunesmith.benchmarks.exact_match import ExactMatch, measure
from tunesmith.checks.context import Parts
from tunesmith.config.run import RunConfig
from tunesmith.core.files import write_text_atomic
from tunesmith.core.progress import Progress, format_seconds, say
from tunesmith.core.types import Example, Sampling
from tunesmith.data.examples import read_examples
from tunesmith.data.pipeline import VALIDATION, PreparedData
from tunesmith.engines.torch import TorchEngine
from tunesmith.jobs.inference import load_sampling
from tunesmith.templates.run_template import serving_policy_of
from tunesmith.templates.tokenizer import padding_id

PREDICTIONS = "generated_predictions.jsonl"
METRICS = "predict_results.json"


def predict(config: RunConfig, parts: Parts, model: nn.Module) -> dict[str, Any]:
    """Answer all evaluation rows, write answers and metrics to the output folder, and give the metrics."""
    assert parts.template is not None and parts.tokenizer is not None, "the preflight has loaded both"
    assert parts.data is not None, "the preflight has prepared the data"
    examples = evaluation_examples(config, parts.data)
    sampling = load_sampling(config, parts.template)
    progress = Progress("Answering", len(examples), "rows")
    started = time.monotonic()
    measured = measure(
        TorchEngine(model, padding_id(parts.tokenizer)),
        parts.template,
        examples,
        sampling=sampling,
        policy=serving_policy_of(config),
        advance=progress.advance,
    )
    progress.close()
    seconds = time.monotonic() - started
    folder = Path(config.run.output_dir or "")
    write_text_atomic(folder / PREDICTIONS, _to_lines(measured))
    metrics = _metrics_of(measured, sampling, seconds)
    write_text_atomic(folder / METRICS, json.dumps(metrics, indent=4, sort_keys=True) + "\n")
    say(
        f"{measured.correct} of {measured.rows} answers are exact ({format_seconds(seconds)}); "
        f"see {folder / PREDICTIONS}."
    )
    return {**metrics, "predictions": str(folder / PREDICTIONS)}


def evaluation_examples(config: RunConfig, data: PreparedData) -> Sequence[Example]:
    """Read the rows of eval_dataset, or those that val_size took from the training sets."""
    if config.data.eval_dataset:
        found = read_examples(config, kind="supervised", part="eval")
        return [item for item in found if isinstance(item, Example)]
    rows = data.evals[VALIDATION]
    wanted = {rows.source(number) for number in range(len(rows))}
    found = read_examples(config, kind="supervised", part="train")
    return [item for item in found if isinstance(item, Example) and item.source in wanted]


def _metrics_of(measured: ExactMatch, sampling: Sampling, seconds: float) -> dict[str, Any]:
    return {
        "predict_exact_match": measured.score,
        "predict_correct": measured.correct,
        "predict_samples": measured.rows,
        "predict_unfinished": measured.unfinished,
        "predict_runtime": round(seconds, 3),
        "predict_samples_per_second": round(measured.rows / seconds, 3),
        "predict_scorer": measured.scorer,
        "predict_data": measured.data,
        "predict_sampling": asdict(sampling),
    }


def _to_lines(measured: ExactMatch) -> str:
    """Write one JSON object a row, with LLaMA-Factory's field names first."""
    rows = [
        {
            "prompt": found.prompt,
            "predict": found.prediction,
            "label": found.expected,
            "is_correct": found.is_correct,
            "finish_reason": found.finish_reason,
            "source": asdict(found.source),
        }
        for found in measured.predictions
    ]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
