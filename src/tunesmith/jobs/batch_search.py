# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Finds the largest batch that fits, from the worst rows first, and keeps the rows of the optimizer step.

On a GPU the passes are tried on the model itself. On the CPU a forecast decides where it is clear, and otherwise a
child process with a memory limit tries: a process that fills the memory of its machine takes others with it.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from torch import nn

from tunesmith.checks.context import Parts
from tunesmith.checks.schedule import is_packing
from tunesmith.config.run import RunConfig
from tunesmith.core.errors import refusal
from tunesmith.core.progress import say
from tunesmith.core.types import TokenRow
from tunesmith.data.collate import collate
from tunesmith.data.mismatched import rows_for
from tunesmith.data.store import TokenRows
from tunesmith.jobs.assembly import BuiltModel, build_objective
from tunesmith.jobs.forecast import to_size
from tunesmith.models.anatomy import base_model
from tunesmith.models.tuners.base import trained_parameters
from tunesmith.objectives.base import objectives
from tunesmith.templates.tokenizer import padding_id
from tunesmith.training.arguments import checkpointing_kwargs, checkpoints_activations, training_device
from tunesmith.training.batch_fit import BatchSize, Trial, first_that_fits, row_sizes, token_sizes, worst_rows
from tunesmith.training.batches import to_device
from tunesmith.training.precision import mixed_precision

# Share of the free memory below which a forecast is trusted without a trial, and above which nothing is tried.
_SURE_SHARE, _USABLE_SHARE = 0.4, 0.85
# Bytes that a pass keeps for its backward, by token, layer and unit of width: measured models stay below it.
_BYTES_PER_WIDTH, _BYTES_PER_INNER_WIDTH = 64, 32
# Adam's two moments for each byte of trained weights; gradients come with the pass.
_MOMENTS = 2
_POLL_SECONDS = 0.1


def settle_batch(
    config: RunConfig, parts: Parts, built: BuiltModel, *, saved_choices: Mapping[str, Any] | None
) -> tuple[RunConfig, dict[str, Any]]:
    """Put numbers in the place of auto; give the configuration with them, and what was chosen, for the record."""
    if not (config.run.do_train and config.training.finds_batch):
        return config, {}
    if saved_choices is not None and "batch" in saved_choices:
        size = BatchSize(**saved_choices["batch"])
    else:
        size = find_batch(config, parts, built)
    say(f"Batch: {size.told()}, the rows of an optimizer step as without the search.")
    return with_batch(config, size), {"batch": asdict(size)}


def with_batch(config: RunConfig, size: BatchSize) -> RunConfig:
    """Give the configuration with the numbers of a batch."""
    key, value = (
        ("tokens_per_batch", size.tokens)
        if size.tokens is not None
        else ("per_device_train_batch_size", size.rows)
    )  # fmt: skip
    return config.with_choices({key: value, "gradient_accumulation_steps": size.passes, "auto_find_batch_size": False})


def find_batch(config: RunConfig, parts: Parts, built: BuiltModel) -> BatchSize:
    """Find the largest batch that fits, or refuse a run of which not even the smallest does."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise refusal(
            "config.keys_conflict",
            "The search for a batch size works on one process: several would have to agree on it.",
            "Write a number for per_device_train_batch_size.",
            key="per_device_train_batch_size",
        )
    search = Search.of(config, parts, built)
    found = search.on_cpu() if training_device(config.run).type == "cpu" else search.on_device()
    if found is None:
        raise refusal(
            "resources.batch_too_large",
            f"Not even the smallest pass ({search.sizes[-1].told()}) fits into memory; the longest row has "
            f"{search.rows[0].num_tokens:,} tokens.",
            "Lower cutoff_len, turn gradient_checkpointing on, train with finetuning_type: lora, or take a smaller "
            "model.",
            key="per_device_train_batch_size",
        )
    return found


@dataclass(frozen=True, kw_only=True)
class Search:
    """The sizes to try, largest first, and the worst rows of the run, longest first: `counts` says how many each."""

    config: RunConfig
    built: BuiltModel
    pad_id: int
    sizes: Sequence[BatchSize]
    counts: Sequence[int]
    rows: Sequence[TokenRow]

    @classmethod
    def of(cls, config: RunConfig, parts: Parts, built: BuiltModel) -> "Search":
        """Choose sizes and rows."""
        assert parts.data is not None and parts.data.train is not None and parts.tokenizer is not None
        store: TokenRows = rows_for(objectives.get(config.run.stage), parts.data.train)
        sizes = sizes_of(config)
        pack = config.data.cutoff_len if is_packing(config) else None
        worst = [worst_rows(store.lengths, size, pack_tokens=pack, layout=built.layout) for size in sizes]
        return cls(
            config=config,
            built=built,
            pad_id=padding_id(parts.tokenizer),
            sizes=sizes,
            counts=[len(rows) for rows in worst],
            rows=[store[row] for row in max(worst, key=len)],
        )

    def on_device(self) -> BatchSize | None:
        """Try on the model itself."""
        trial = trial_of(self.config, self.built)
        counts = dict(zip(self.sizes, self.counts, strict=True))
        return first_that_fits(self.sizes, lambda size: self._fits(trial, counts[size]), tell=say)

    def on_cpu(self) -> BatchSize | None:
        """Take what surely fits; try what may fit in a child process."""
        free = free_bytes()
        sure = [self.forecast_bytes(count) <= _SURE_SHARE * free for count in self.counts]
        unsure = sure.index(True) if True in sure else len(sure)
        if unsure:
            say(f"Batch: trying {unsure} sizes in a process of its own, with at most {to_size(_USABLE_SHARE * free)}.")
            found = self._in_child(unsure, limit_bytes=int(_USABLE_SHARE * free))
            if found is not None:
                return self.sizes[found]
        return self.sizes[unsure] if unsure < len(sure) else None

    def forecast_bytes(self, count: int) -> float:
        """Estimate gradients, moments and what a pass over the worst rows keeps, generously."""
        tokens = sum(row.num_tokens for row in self.rows[:count])
        if self.built.layout == "padded":
            tokens = count * self.rows[0].num_tokens
        return tokens * bytes_per_token(self.built.model) + (1 + _MOMENTS) * trained_bytes(self.built.model)

    def _fits(self, trial: Trial, count: int) -> bool:
        batch = collate(self.rows[:count], layout=self.built.layout, pad_id=self.pad_id)
        return trial.fits(to_device(batch, training_device(self.config.run)))

    def _in_child(self, num_sizes: int, *, limit_bytes: int) -> int | None:
        """Give the first size that a child computed; a child that was ended goes on with the next size in another."""
        first = 0
        while first < num_sizes:
            request = {
                "config": self.config.to_yaml(),
                "command": self.config.command,
                "layout": self.built.layout,
                "pad_id": self.pad_id,
                "limit_bytes": limit_bytes,
                "counts": list(self.counts[first:num_sizes]),
                "rows": [to_json(row) for row in self.rows],
            }
            answers = run_probe(request, limit_bytes=limit_bytes)
            for answer in answers:
                say(f"{self.sizes[first].told()}: {'fits' if answer else 'does not fit'}.")
                if answer:
                    return first
                first += 1
            first += len(answers) == 0  # ended before its first answer: that size is too large
        return None


def sizes_of(config: RunConfig) -> list[BatchSize]:
    """List the sizes that keep the optimizer step, largest first."""
    training, passes = config.training, config.training.gradient_accumulation_steps
    budget = training.token_budget(config.data.cutoff_len)
    if budget is None:
        return row_sizes(training.batch_rows, passes)
    return token_sizes(budget, passes, least=config.data.cutoff_len)


def trial_of(config: RunConfig, built: BuiltModel) -> Trial:
    """Make what tries a pass as training will do it."""
    device = training_device(config.run)
    if checkpoints_activations(config.training, config.model, device=device):
        enable: Any = base_model(built.model)
        enable.gradient_checkpointing_enable(checkpointing_kwargs(config.training, config.model))
    return Trial(
        model=built.model,
        objective=build_objective(config),
        formats=partial(mixed_precision, config.training, device),
        reserve_bytes=_MOMENTS * trained_bytes(built.model),
    )


def bytes_per_token(model: nn.Module) -> float:
    """Estimate what one token keeps for the backward pass."""
    config: Any = base_model(model).config.get_text_config()
    width = int(config.hidden_size)
    inner = int(getattr(config, "intermediate_size", None) or 4 * width)
    layers = int(config.num_hidden_layers)
    return float(layers * (_BYTES_PER_WIDTH * width + _BYTES_PER_INNER_WIDTH * inner))


def trained_bytes(model: nn.Module) -> int:
    """Count the bytes of the trained weights."""
    return sum(parameter.numel() * parameter.element_size() for _, parameter in trained_parameters(model))


def free_bytes() -> int:
    """Give the memory that is free for this process: of the machine, or of its container where that is less."""
    free = int(psutil.virtual_memory().available)
    most, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if most.is_file() and used.is_file() and (text := most.read_text(encoding="utf-8").strip()).isdigit():
        free = min(free, max(0, int(text) - int(used.read_text(encoding="utf-8"))))
    return free


def to_json(row: TokenRow) -> dict[str, Any]:
    """Write a row for the child."""
    return {
        "input_ids": row.input_ids.tolist(),
        "weights": row.weights.tolist(),
        "segment_lengths": row.segment_lengths,
        "segment_parents": row.segment_parents,
        "segment_names": row.segment_names,
        "label": row.label,
    }


def run_probe(request: Mapping[str, Any], *, limit_bytes: int) -> list[bool]:
    """Let a child try sizes in order; give its answers, up to the first that fits or to where the child was ended."""
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
        file, answers = Path(folder, "request.json"), Path(folder, "answers")
        file.write_text(json.dumps(dict(request)), encoding="utf-8")
        words = [sys.executable, "-P", "-m", "tunesmith.jobs.batch_probe", str(file), str(answers)]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        watch(process, limit_bytes=limit_bytes)
        lines = answers.read_text(encoding="utf-8").split() if answers.is_file() else []
    return [line == "fits" for line in lines]


def watch(process: "subprocess.Popen[bytes]", *, limit_bytes: int) -> None:
    """Wait for the child, and end it where it takes more than it may (the system's own limit is finer, on Linux)."""
    while True:
        try:
            process.wait(timeout=_POLL_SECONDS)
            return
        except subprocess.TimeoutExpired:
            try:
                if psutil.Process(process.pid).memory_info().rss > limit_bytes:
                    process.kill()
            except psutil.Error:
                continue
