# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The job of `tunesmith score`: a reward model judges the answers of rows; one JSON object a row is written.

Rows are pairs, prompts with an answer, or answers with a label, read as everywhere; the answers to one prompt share it.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from tunesmith.config.run import RunConfig
from tunesmith.core.errors import Problem, TunesmithError, refusal
from tunesmith.core.files import write_stream_atomic
from tunesmith.core.progress import Progress, format_seconds, say
from tunesmith.core.types import Example, LayoutKind, RowKind, TokenRow
from tunesmith.data.collate import collate
from tunesmith.data.encoders.base import Encoder, Notes, encoders
from tunesmith.data.examples import group_bad_rows, read_examples
from tunesmith.data.pipeline import encode_rules
from tunesmith.jobs.assembly import choose_layout
from tunesmith.jobs.reward import RewardModel, load_reward
from tunesmith.models.values import score_values

SCORES = "scores.jsonl"
# The kinds of rows that have answers, in the order in which they are looked for.
_KINDS: tuple[RowKind, ...] = ("preference", "supervised", "feedback")
_LOOKED_AT = 20


def run(config: RunConfig, output: str | None = None) -> dict[str, Any]:
    """Score the answers of all rows of `dataset`, write them in their order, and sum them up."""
    path = _output_path(config, output)
    kind, examples = read_rows(config)
    reward = load_reward(config)
    with torch.no_grad():
        layout = choose_layout(reward.model, None)
    encoder = encoders.get("preference" if kind == "preference" else "feedback")(
        encode_rules(config, reward.tokenizer, reward.template)
    )
    summary, began = _Summary(), time.monotonic()
    batch_rows = config.training.per_device_eval_batch_size
    with write_stream_atomic(path) as stream:
        for scored in score_examples(reward, encoder, examples, layout=layout, batch_rows=batch_rows):
            summary.add(scored)
            stream.write((json.dumps(scored, ensure_ascii=False) + "\n").encode("utf-8"))
    seconds = time.monotonic() - began
    say(summary.line(path, seconds))
    return {"output": str(path), "kind": kind, **summary.to_json(), "seconds": round(seconds, 3)}


def read_rows(config: RunConfig) -> tuple[RowKind, list[Example]]:
    """Read all rows as the first kind that any of the first rows is of, or refuse."""
    found: list[Example | Problem] = []
    for kind in _KINDS:
        start = list(islice(read_examples(config, kind=kind), _LOOKED_AT))
        if any(isinstance(item, Example) for item in start):
            rows = list(read_examples(config, kind=kind))
            problems = [item for item in rows if isinstance(item, Problem)]
            if problems:
                raise TunesmithError(problems)
            return kind, [item for item in rows if isinstance(item, Example)]
        found = found or [*start]
    raise TunesmithError([item for item in found if isinstance(item, Problem)] or [_no_rows()])


def score_examples(
    reward: RewardModel, encoder: Encoder, examples: Sequence[Example], *, layout: LayoutKind, batch_rows: int
) -> Iterator[dict[str, Any]]:
    """Give each example's place with the rewards of its answers, or with the reason why it has none."""
    progress = Progress("Scoring", len(examples), "rows")
    for start in range(0, len(examples), batch_rows):
        part = [
            replace(one, kind="feedback") if one.chosen == () else one for one in examples[start : start + batch_rows]
        ]
        notes = Notes()
        rows = list(encoder.encode(part, notes))
        if notes.bad_rows:
            raise TunesmithError(group_bad_rows(notes.bad_rows))
        rewards = dict(zip((row.source for row in rows), rewards_of(reward, rows, layout), strict=True))
        reasons = {row: reason for row, outcome, reason, _ in notes.outcomes if outcome == "dropped"}
        reasons |= {row: "too_long" for row, _ in notes.too_long}
        for example in part:
            known = rewards.get(example.source)
            told = {"reason": reasons.get(example.source, "")} if known is None else _told(example, known)
            yield {"source": asdict(example.source), **told}
        progress.advance(len(part))
    progress.close()


@torch.no_grad()
def rewards_of(reward: RewardModel, rows: Sequence[TokenRow], layout: LayoutKind) -> list[list[float]]:
    """Give the rewards of the answers of each row."""
    if not rows:
        return []
    device = next(reward.model.parameters()).device
    batch = reward.to_device(collate(rows, layout=layout, pad_id=reward.pad_id), device)
    values_S = score_values(reward.model, batch).values_S
    assert values_S is not None, "a reward model gives values"
    found: list[list[float]] = [[] for _ in rows]
    for row, name, value in zip(batch.segment_row_S.tolist(), batch.segment_names, values_S.tolist(), strict=True):
        if name != "prompt":
            found[row].append(value)
    return found


def _told(example: Example, rewards: Sequence[float]) -> dict[str, Any]:
    if example.kind != "preference":
        return {"score": rewards[0]}
    return {"chosen": rewards[0], "rejected": list(rewards[1:])}


@dataclass(kw_only=True)
class _Summary:
    """Counts and sums over all rows; a pair whose rewards are equal is half right."""

    rows: int = 0
    unscored: int = 0
    values: list[float] = field(default_factory=list)
    margins: list[float] = field(default_factory=list)

    def add(self, scored: Mapping[str, Any]) -> None:
        """Count a row."""
        self.rows += 1
        self.unscored += "reason" in scored
        self.values += [scored["score"]] if "score" in scored else []
        if "chosen" in scored:
            self.values += [scored["chosen"], *scored["rejected"]]
            self.margins += [scored["chosen"] - rejected for rejected in scored["rejected"]]

    def to_json(self) -> dict[str, Any]:
        """Give counts and means."""
        known: dict[str, Any] = {"rows": self.rows, "rows_unscored": self.unscored, "answers": len(self.values)}
        known["mean_score"] = _mean(self.values)
        if self.margins:
            wins = [(margin > 0) + 0.5 * (margin == 0) for margin in self.margins]
            known |= {"pairs": len(self.margins), "accuracy": _mean(wins), "mean_margin": _mean(self.margins)}
        return known

    def line(self, path: Path, seconds: float) -> str:
        """Sum up in a sentence."""
        told = self.to_json()
        pairs = f" The chosen answer wins {told['accuracy']:.1%} of {told['pairs']:,} pairs." if self.margins else ""
        lost = f", {self.unscored:,} rows without" if self.unscored else ""
        return f"{len(self.values):,} answers scored in {format_seconds(seconds)}{lost}.{pairs} Written to {path}."


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return sum(known) / len(known) if known else None


def _output_path(config: RunConfig, output: str | None) -> Path:
    if output is not None:
        return Path(output).expanduser()
    if config.run.output_dir:
        return Path(config.run.output_dir).expanduser() / SCORES
    raise refusal(
        "config.key_missing",
        "It is not said where the scores are to be written.",
        f"Give --output FILE, or write output_dir: the scores are then its {SCORES}.",
        key="output_dir",
    )


def _no_rows() -> Problem:
    return refusal(
        "data.set_empty",
        "There are no rows to score.",
        "Name rows with answers in dataset.",
        key="dataset",
    ).problems[0]
