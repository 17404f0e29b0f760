# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation as streamed sums: loss and metrics of each named set and of all together, never a stored logit.

It knows neither trainer nor files; the caller gives the function that scores a batch.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from tunesmith.core.progress import Progress
from tunesmith.core.types import Batch, LossOutput, Scores
from tunesmith.objectives.base import Objective
from tunesmith.objectives.statistics import Statistics, join_statistics
from tunesmith.training.totals import MetricSums, SumOverRanks

_SILENT_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class EvaluationRules:
    """What is reported: accuracy where it was asked for, perplexity of likelihoods, a single set by its name too.

    `reference` scores by the reference, `join` completes the statistics of a set where a loss needs them, `known` holds
    metrics of each set that no model changes.
    """

    objective: Objective
    with_accuracy: bool
    sum_over_ranks: SumOverRanks
    reports_each_set: bool = False
    reference: Callable[[Batch], Scores | None] = lambda batch: None
    join: Callable[[Sequence[Statistics]], Statistics] = join_statistics
    known: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SetSums:
    """Sums over the rows of one evaluation set."""

    loss: float
    units: float
    rows: int
    batches: int
    metrics: Mapping[str, tuple[float, float]]


def evaluate_sets(
    model: nn.Module,
    sets: Mapping[str, Iterable[Batch]],
    rules: EvaluationRules,
    *,
    score: Callable[[Batch], Scores],
    prefix: str = "eval",
) -> dict[str, float]:
    """Evaluate each set and give the metrics by transformers' names: `eval_loss` of all, `eval_<set>_loss` of each."""
    began = time.monotonic()
    was_training = model.training
    model.eval()
    with torch.no_grad():
        sums = {name: with_known(sum_set(batches, rules, score), rules, name) for name, batches in sets.items()}
    model.train(was_training)
    metrics: dict[str, float] = {}
    if rules.reports_each_set or len(sums) > 1:
        for name, values in sums.items():
            metrics |= to_metrics(values, rules, f"{prefix}_{name}")
    together = add_up(list(sums.values()))
    metrics |= to_metrics(together, rules, prefix)
    seconds = max(time.monotonic() - began, 1e-9)
    metrics[f"{prefix}_runtime"] = round(seconds, 4)
    metrics[f"{prefix}_samples_per_second"] = round(together.rows / seconds, 3)
    metrics[f"{prefix}_steps_per_second"] = round(together.batches / seconds, 3)
    return metrics


def with_known(sums: SetSums, rules: EvaluationRules, name: str) -> SetSums:
    """Add the metrics of a set that no model changes."""
    return replace(sums, metrics={**sums.metrics, **rules.known.get(name, {})})


def shown(batches: Iterable[Batch], label: str, num_rows: int) -> Iterator[Batch]:
    """Pass batches through; an evaluation that takes longer than a few seconds draws a progress line of its own."""
    began, done, progress = time.monotonic(), 0, None
    for batch in batches:
        yield batch
        done += len(batch.rows)
        if progress is not None:
            progress.advance(len(batch.rows))
        elif time.monotonic() - began > _SILENT_SECONDS:
            progress = Progress(label, num_rows, "rows", start=done)
    if progress is not None:
        progress.close()


def sum_set(batches: Iterable[Batch], rules: EvaluationRules, score: Callable[[Batch], Scores]) -> SetSums:
    """Add up loss, units and metrics over the batches of one set, and over ranks."""
    sums = MetricSums()
    rows = count = 0
    for batch, output in _outputs(batches, rules, score):
        sums.add({**output.metrics, "": (output.loss.double(), rules.objective.units(batch))})
        rows += len(batch.rows)
        count += 1
    summed = sums.summed(rules.sum_over_ranks)
    loss, units = summed.pop("", (0.0, 0.0))
    (all_rows,) = rules.sum_over_ranks([rows])
    return SetSums(loss=loss, units=units, rows=round(all_rows), batches=count, metrics=summed)


def _outputs(
    batches: Iterable[Batch], rules: EvaluationRules, score: Callable[[Batch], Scores]
) -> Iterator[tuple[Batch, LossOutput]]:
    """Give the loss of each batch; one that needs statistics of the whole set waits until all is scored."""
    objective = rules.objective
    scored = ((batch, score(batch), rules.reference(batch)) for batch in batches)
    if objective.is_plain_sum:
        for batch, policy, reference in scored:
            yield batch, objective.loss(batch, policy, reference)
        return
    known = list(scored)  # one number a target
    statistics = rules.join([objective.step_statistics(*each) for each in known])
    for batch, policy, reference in known:
        yield batch, objective.loss(batch, policy, reference, statistics)


def add_up(sums: list[SetSums]) -> SetSums:
    """Join the sums of several sets."""
    names = sorted({name for item in sums for name in item.metrics})
    pairs = {name: [item.metrics[name] for item in sums if name in item.metrics] for name in names}
    return SetSums(
        loss=math.fsum(item.loss for item in sums),
        units=math.fsum(item.units for item in sums),
        rows=sum(item.rows for item in sums),
        batches=sum(item.batches for item in sums),
        metrics={name: (sum(a for a, _ in values), sum(b for _, b in values)) for name, values in pairs.items()},
    )


def to_metrics(sums: SetSums, rules: EvaluationRules, prefix: str) -> dict[str, float]:
    """Divide sums by counts, under the names that are reported."""
    if not sums.units:
        return {}
    loss = sums.loss / sums.units
    metrics = {f"{prefix}_loss": loss}
    if rules.objective.is_likelihood:
        metrics[f"{prefix}_perplexity"] = math.exp(min(loss, 700.0))
    shown = {name: pair for name, pair in sums.metrics.items() if name != "accuracy" or rules.with_accuracy}
    means = {name: total / count for name, (total, count) in shown.items() if count}
    means |= rules.objective.derived(means)
    return metrics | {f"{prefix}_{name}": mean for name, mean in means.items()}


def metric_names(
    objective: Objective | type[Objective],
    sets: Iterable[str],
    *,
    with_accuracy: bool,
    reports_each_set: bool = False,
    prefix: str = "eval",
) -> set[str]:
    """Name the metrics by which a best checkpoint can be chosen, before anything was evaluated."""
    names = list(sets)
    prefixes = [prefix, *(f"{prefix}_{name}" for name in names if reports_each_set or len(names) > 1)]
    kinds = ["loss", *(["perplexity"] if objective.is_likelihood else [])]
    kinds += [*(["accuracy"] if with_accuracy else []), *objective.metric_names]
    return {f"{one}_{kind}" for one in prefixes for kind in kinds}
