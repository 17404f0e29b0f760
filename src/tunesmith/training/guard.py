# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Stops a run at the first non-finite loss, gradient or trainable weight, and names step, rows and module.

The test costs one norm a step; only after it failed the micro-batches are run again to find the place.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tunesmith.core.errors import TunesmithError, refusal
from tunesmith.core.types import Batch, RowRef

_REMEDY = (
    "Lower learning_rate, or look at the rows and at the numeric format (bf16 instead of fp16). The last good "
    "checkpoint is kept; resume_from_checkpoint: true continues from it."
)
# Loss of one micro-batch, for running it again.
LossOf = Callable[[Batch], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Step:
    """The optimizer step under way: its number, its micro-batches, and the loss of each as far as it is known."""

    number: int
    batches: Sequence[Batch]
    losses: Sequence[float]


def non_finite_names(named: Iterable[tuple[str, torch.Tensor]]) -> list[str]:
    """Name the tensors that hold a NaN or an infinity."""
    items = [(name, tensor) for name, tensor in named if tensor.is_floating_point() and tensor.numel()]
    if not items:
        return []
    # The maximum norm cannot overflow, and it is NaN where an element is.
    norms = torch._foreach_norm([tensor.detach() for _, tensor in items], math.inf)
    finite = torch.stack([norm.float().cpu() for norm in norms]).isfinite().tolist()
    return [name for (name, _), is_finite in zip(items, finite, strict=True) if not is_finite]


def trainable(model: nn.Module) -> list[tuple[str, torch.Tensor]]:
    """List the parameters that training changes."""
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def refuse_non_finite_weights(model: nn.Module, step: Step) -> None:
    """Refuse to go on, or to save, with trainable weights that are not finite."""
    names = non_finite_names(trainable(model))
    if names:
        raise _stop("training.weight_not_finite", _weights_text(names), step, _rows(step.batches))


def diagnose(model: nn.Module, step: Step, loss_of: LossOf) -> TunesmithError:
    """Find where a step whose loss or gradient norm is not finite went wrong, and build its error."""
    bad = next((index for index, loss in enumerate(step.losses) if not math.isfinite(loss)), None)
    batches = step.batches if bad is None else [step.batches[bad]]
    names = non_finite_names(model.named_parameters())
    if names:
        text = _weights_text(names)
    elif bad is not None:
        text = _module_text(first_non_finite_module(model, batches[0], loss_of))
    else:
        text, batches = _gradient_place(model, batches, loss_of)
    if bad is None:
        return _stop("training.gradient_not_finite", f"a gradient is not finite; {text}", step, _rows(batches))
    return _stop("training.loss_not_finite", f"the loss is {step.losses[bad]}; {text}", step, _rows(batches))


def first_non_finite_module(model: nn.Module, batch: Batch, loss_of: LossOf) -> str | None:
    """Run a micro-batch and name the first module that turns finite inputs into a non-finite output."""
    with torch.no_grad(), _watched(model) as found:
        loss_of(batch)
    return found[0] if found else None


@contextmanager
def _watched(model: nn.Module) -> Iterator[list[str]]:
    """Collect, in order of completion, the names of modules whose output is not finite while a block runs."""
    found: list[str] = []

    def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def look(module: nn.Module, inputs: Any, output: Any) -> None:
            if non_finite_names((name, tensor) for tensor in _tensors(output)):
                found.append(name)

        return look

    handles = [module.register_forward_hook(watch(name)) for name, module in model.named_modules() if name]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _tensors(output: Any) -> list[torch.Tensor]:
    if isinstance(output, torch.Tensor):
        return [output]
    if isinstance(output, dict):
        return _tensors(list(output.values()))
    return [tensor for item in output for tensor in _tensors(item)] if isinstance(output, list | tuple) else []


def _gradient_place(model: nn.Module, batches: Sequence[Batch], loss_of: LossOf) -> tuple[str, Sequence[Batch]]:
    """Run each micro-batch alone until one gives a non-finite gradient (clipping has made all of them NaN)."""
    for batch in batches:
        model.zero_grad()
        loss_of(batch).backward()
        grads = [(name, parameter.grad) for name, parameter in trainable(model) if parameter.grad is not None]
        names = non_finite_names((name, grad) for name, grad in grads if grad is not None)
        if names:
            text = f"{len(names)} of {len(grads)} trained tensors are concerned, nearest to the loss {names[-1]}"
            return text, [batch]
    return "it appears only in the sum over the micro-batches", batches


def _weights_text(names: list[str]) -> str:
    return f"non-finite weights in {len(names)} tensors, first {names[0]} (module {names[0].rpartition('.')[0]})"


def _module_text(module: str | None) -> str:
    return f"the first module with a non-finite output is {module}" if module else "all modules gave finite outputs"


def _rows(batches: Iterable[Batch]) -> list[RowRef]:
    return sorted({row for batch in batches for row in batch.rows})


def _stop(code: str, what: str, step: Step, rows: list[RowRef]) -> TunesmithError:
    listed = ", ".join(f"{row.dataset} {row.row}" for row in rows[:8]) + (", …" if len(rows) > 8 else "")
    first = rows[0] if rows else None
    same_file = [row.row for row in rows if first is not None and row.file == first.file]
    return refusal(
        code,
        f"Step {step.number}: {what}. Rows: {listed}.",
        _REMEDY,
        file=first.file if first else None,
        dataset=first.dataset if first else None,
        rows=tuple(same_file[:100]),
        num_rows=len(rows),
    )
