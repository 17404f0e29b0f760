# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What a run will do, told before it starts: steps, tokens, longest row, bytes on disk, memory it holds for sure."""

import math
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from peft import PeftModel
from torch import nn
from transformers import TrainingArguments

from tunesmith.core.errors import refusal
from tunesmith.data.plan import PlanRules, plan_epoch
from tunesmith.data.planned_lengths import planned_lengths
from tunesmith.data.store import TokenRows
from tunesmith.models.stored_size import num_bytes

# Bytes of optimizer state for each byte of trained weights: Adam keeps two moments.
_OPTIMIZER_FACTOR = 2


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Counts of a run from its first step to its last; `steps_done` were trained before it is resumed.

    Of a stream only the first rows are counted.
    """

    rows: int
    tokens: int
    supervised_tokens: int
    longest_row: int
    steps: int
    steps_of_epoch: int
    checkpoints: int
    bytes_of_checkpoint: int
    bytes_of_result: int
    bytes_in_memory: int
    steps_done: int = 0
    is_stream: bool = False

    @property
    def is_finished(self) -> bool:
        """Whether a run that is resumed has no step left."""
        return self.steps_done >= self.steps

    @property
    def bytes_to_write(self) -> int:
        """Bytes on disk when the run has ended."""
        return self.checkpoints * self.bytes_of_checkpoint + self.bytes_of_result

    def to_json(self) -> dict[str, Any]:
        """Give the counts as a JSON object."""
        return {**asdict(self), "bytes_to_write": self.bytes_to_write}

    def lines(self) -> list[str]:
        """Write the counts for the terminal."""
        share = 100 * self.supervised_tokens / max(self.tokens, 1)
        what = "Start of the stream" if self.is_stream else "Data"
        return [
            f"{what}: {counted(self.rows, 'row')}, {self.tokens:,} tokens, {self.supervised_tokens:,} of them "
            f"supervised ({share:.0f} %), longest row {self.longest_row:,} tokens",
            f"Steps: {self.steps:,}{self._epoch_text()}{self._resume_text()}",
            self._disk_text(),
            f"Memory: {to_size(self.bytes_in_memory)} for weights, gradients and optimizer; activations come on top",
        ]

    def _epoch_text(self) -> str:
        return "" if self.is_stream else f" ({self.steps_of_epoch:,} an epoch)"

    def _resume_text(self) -> str:
        if not self.steps_done:
            return ""
        if self.is_finished:
            return ": the run was already finished, no step remains"
        return f", {self.steps_done:,} done, {self.steps - self.steps_done:,} remain"

    def _disk_text(self) -> str:
        result = to_size(self.bytes_of_result)
        if self.is_finished:
            return f"Will write the result again: {result}"
        verb = "Will take" if self.steps_done else "Will write"
        return f"{verb} about {to_size(self.bytes_to_write)}: {self._checkpoints_text()}the result of {result}"

    def _checkpoints_text(self) -> str:
        if not self.checkpoints:
            return ""
        plural = "s" if self.checkpoints > 1 else ""
        return f"{self.checkpoints} checkpoint{plural} of {to_size(self.bytes_of_checkpoint)} and "


@dataclass(frozen=True, kw_only=True)
class Saving:
    """How many checkpoints are kept, and the bytes of tokenizer and template beside every set of weights."""

    keep: int | None = None
    side_bytes: int = 0


def make_forecast(
    model: nn.Module, store: TokenRows, plan: PlanRules, args: TrainingArguments, *, saving: Saving
) -> Forecast:
    """Count what a run will do."""
    micro_batches = len(plan_epoch(planned_lengths(store, plan), plan, epoch=0))
    of_epoch = max(1, math.ceil(micro_batches / plan.gradient_accumulation_steps))
    steps = args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * of_epoch)
    weights = list(model.parameters())
    trained = sum(weight.numel() * weight.element_size() for weight in weights if weight.requires_grad)
    loaded = sum(num_bytes(weight) for weight in weights)
    optimizer = 0 if args.save_only_model else _OPTIMIZER_FACTOR * trained
    saved = trained if isinstance(model, PeftModel) else loaded  # other tuners save the whole model
    saved += saving.side_bytes
    return Forecast(
        rows=len(store),
        tokens=int(store.lengths.sum()),
        supervised_tokens=int(store.num_supervised.sum()),
        longest_row=int(store.lengths.max(initial=0)),
        steps=steps,
        steps_of_epoch=of_epoch,
        checkpoints=count_checkpoints(args, steps, of_epoch, keep=saving.keep),
        bytes_of_checkpoint=saved + optimizer,
        bytes_of_result=saved,
        bytes_in_memory=loaded + trained * (1 + _OPTIMIZER_FACTOR),
    )


def count_checkpoints(args: TrainingArguments, steps: int, steps_of_epoch: int, *, keep: int | None) -> int:
    """Count the checkpoints that are left when the run has ended."""
    strategy = str(getattr(args.save_strategy, "value", args.save_strategy))
    if strategy == "no":
        return 0
    if strategy == "steps":
        every = args.save_steps if args.save_steps >= 1 else math.ceil(args.save_steps * steps)
        made = math.ceil(steps / every)
    else:
        made = math.ceil(steps / steps_of_epoch)
    return made if keep is None else min(made, keep + 1)


def refuse_short_disk(forecast: Forecast, folder: Path) -> None:
    """Refuse a run whose result and newest checkpoint cannot fit on the disk."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    needed = forecast.bytes_of_result + min(forecast.checkpoints, 2) * forecast.bytes_of_checkpoint
    if needed > free:
        raise refusal(
            "resources.disk_short",
            f"The run needs {to_size(needed)} on disk for its result and newest checkpoints, but {to_size(free)} are "
            f"free at {place}.",
            "Free space, choose another output_dir, or write save_only_model: true.",
            file=str(folder),
            key="output_dir",
        )


def counted(count: int, noun: str) -> str:
    """Write a number of things as 1 step or 1,200 steps."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def to_size(count: float) -> str:
    """Write a number of bytes as 17 MB or 1.4 GB."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
