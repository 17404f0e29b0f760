# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Stamps of a training run: wall and CPU time between two steps, real tokens, losses, memory. The same for all systems.

Needs transformers and psutil only, for it is imported into the peers' environments. All systems train through
transformers' Trainer; `install` adds a callback to it and counts the batches that it draws. What is written, and where,
stands in environment variables, because tunesmith loads this file as a plug-in of its command line.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil
import torch
import transformers.trainer
from transformers import Trainer, TrainerCallback

# Where the stamps are written, the last step before the timed ones, and when the command was started.
FILE, WARMUP, STARTED, PROFILE = "BENCH_STAMPS", "BENCH_WARMUP", "BENCH_STARTED", "BENCH_PROFILE"
_COUNTS = {"tokens": 0, "supervised_tokens": 0, "positions": 0}


class Stamps(TrainerCallback):  # type: ignore[misc]
    """Notes time and counts after the warm-up and after the last step, then writes them and ends the process."""

    def __init__(self) -> None:
        self._warmup = int(os.environ[WARMUP])
        self._found: dict[str, Any] = {"losses": [], "step_seconds": []}
        self._counts: dict[str, int] = {}
        self._ours: dict[str, int] = {}
        self._first: dict[str, float] = {}
        self._first_counts: dict[str, int] = {}
        self._previous = 0.0
        self._profile: Any = None

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note when the first step begins."""
        if not state.global_step:
            self._found["seconds_to_first_step"] = time.time() - float(os.environ[STARTED])
            self._found["cpu_seconds_to_first_step"] = _now()["cpu_seconds"]
            self._previous = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the end of a step."""
        now = time.perf_counter()
        self._found["step_seconds"].append(now - self._previous)
        self._previous = now
        if state.global_step == self._warmup:
            self._found["warmup_peak_rss_bytes"] = _peak_bytes()
            _forget_peak()
            self._first, self._first_counts = _now(), dict(_COUNTS)
            self._begin_profile()
        elif state.global_step == state.max_steps:
            self._end_profile()
            last = _now()
            spent = {name: value - self._first[name] for name, value in last.items()}
            counts = {name: value - self._first_counts[name] for name, value in _COUNTS.items()}
            self._found |= {**spent, **counts, "steps": state.global_step - self._warmup}
            self._found["steps_peak_rss_bytes"] = _peak_bytes()

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the loss of each step, and tunesmith's own counts: its batches are no mappings of tensors."""
        logs: Mapping[str, Any] = kwargs.get("logs") or {}
        if "loss" in logs:
            self._found["losses"].append(float(logs["loss"]))
            self._found.setdefault("gradient_norms", []).append(float(logs.get("grad_norm", 0.0)))
        if "supervised_tokens" in logs:
            own = {"tokens": int(logs["total_tokens"]), "supervised_tokens": int(logs["supervised_tokens"])}
            if state.global_step == self._warmup:
                self._ours = own
            elif state.global_step == state.max_steps:
                self._found |= {name: value - self._ours[name] for name, value in own.items()}

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write what was found; nothing that follows training is measured, so the process ends here."""
        peaks = [self._found["warmup_peak_rss_bytes"], self._found["steps_peak_rss_bytes"]]
        self._found |= {
            "peak_rss_bytes": max(peaks),
            "threads": torch.get_num_threads(),
            "wait_policy": os.environ.get("OMP_WAIT_POLICY", "default"),
            "trainable": _trainable(kwargs.get("model")),
            "transformers": transformers.__version__,
        }
        Path(os.environ[FILE]).write_text(json.dumps(self._found), encoding="utf-8")
        os._exit(0)

    def _begin_profile(self) -> None:
        if PROFILE in os.environ:
            self._profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
            self._profile.__enter__()

    def _end_profile(self) -> None:
        if self._profile is not None:
            self._profile.__exit__(None, None, None)
            self._found["profile"] = {
                entry.key: {"seconds": entry.self_cpu_time_total / 1e6, "calls": entry.count}
                for entry in self._profile.key_averages()
            }


def install() -> None:
    """Add the callback to every trainer, and count the tokens of the batches that trainers draw."""
    draw = Trainer.get_batch_samples

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        drawn = draw(self, *args, **kwargs)
        _count(drawn[0], self.processing_class)
        return drawn

    Trainer.get_batch_samples = counted
    transformers.trainer.DEFAULT_CALLBACKS = [*transformers.trainer.DEFAULT_CALLBACKS, Stamps]


def _count(batches: Iterable[Any], processor: Any) -> None:
    pad = getattr(processor, "tokenizer", processor).pad_token_id
    for batch in batches:
        for ids, mask, labels in _token_tensors(batch):
            _COUNTS["positions"] += ids.numel()
            _COUNTS["tokens"] += sum(map(_real_tokens, ids, mask, labels, [pad] * len(ids)))
            _COUNTS["supervised_tokens"] += int((labels != -100).sum())


def _token_tensors(batch: Mapping[str, Any]) -> Iterable[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Find the token tensors of a batch: one, or one for each side of preference pairs."""
    for name in [name for name in batch if name.endswith("input_ids")]:
        ids, stem = batch[name], name.removesuffix("input_ids")
        labels = batch.get(f"{stem}labels")
        if labels is None:
            marked = batch.get(f"{stem}completion_mask")
            labels = ids if marked is None else torch.where(marked.bool(), ids, -100)
        mask = batch.get(f"{stem}attention_mask")
        # A mask of four dimensions says who sees whom: a position that sees itself is real.
        if mask is not None and mask.dim() == 4:
            mask = torch.diagonal(mask[:, 0], dim1=-2, dim2=-1) == 0
        yield ids, torch.ones_like(ids) if mask is None else mask, labels


def _real_tokens(ids: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor, pad: int) -> int:
    """Count a row's tokens without padding, also where the mask shows padding; the end token may pad as well."""
    others = (ids != pad).nonzero()
    end = int(others[-1]) + 1 if len(others) else 0
    end += int(end < len(ids) and int(labels[end]) != -100)
    return int((mask[:end] != 0).sum())


def _now() -> dict[str, float]:
    process = psutil.Process()
    times = [process.cpu_times(), *(_times_of(child) for child in process.children(recursive=True))]
    cpu = sum(sum(part[:4]) for part in times if part is not None)
    return {"seconds": time.perf_counter(), "cpu_seconds": cpu, "compile_seconds": _compile_seconds()}


def _times_of(process: psutil.Process) -> Any:
    try:
        return process.cpu_times()
    except psutil.Error:
        return None


def _compile_seconds() -> float:
    """Give the seconds that torch.compile has spent so far, where it was used."""
    module = sys.modules.get("torch._dynamo.utils")
    if module is None:
        return 0.0
    spent: Mapping[str, list[float]] = module.compilation_time_metrics
    return float(sum(sum(spent.get(name, [])) for name in ("_compile.compile_inner", "backward._backward_impl")))


def _trainable(model: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for parameter in model.parameters() if model is not None else []:
        if parameter.requires_grad:
            name = str(parameter.dtype).removeprefix("torch.")
            counts[name] = counts.get(name, 0) + parameter.numel()
    return counts


def _peak_bytes() -> int:
    """Read the most memory that this process held since its start, or since the peak was forgotten."""
    status = Path("/proc/self/status")
    if status.is_file():
        lines = status.read_text(encoding="utf-8").splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    except OSError:
        return
