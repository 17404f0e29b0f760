# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Out of memory in a training step: the step begins again with halved micro-batches, and so do all later ones.

The optimizer step keeps its rows, and losses are sums over the units of the whole step, so loss and gradient stay the
same. It knows neither model nor loss; the trainer gives what computes a micro-batch.
"""

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from transformers import TrainingArguments

from tunesmith.core.errors import warning
from tunesmith.core.report import emit_warning
from tunesmith.core.types import Batch, LayoutKind
from tunesmith.training.batches import Inputs, collate_inputs

_MEMORY_TEXTS = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "out of memory",
)
# Optimizers that change weights inside the backward pass: a step that was begun cannot begin again.
_UPDATING_IN_BACKWARD = ("lomo", "adalomo")


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an exception tells of memory that could not be had, on a GPU or on the CPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _MEMORY_TEXTS)


def can_begin_again(optimizer: str, *, world_size: int, updates_early: bool = False) -> bool:
    """Say whether a step may begin again: on one rank (others would wait for its gradients), without early updates.

    `updates_early` says that an optimizer of ours changes weights inside the backward pass.
    """
    return world_size == 1 and not updates_early and optimizer not in _UPDATING_IN_BACKWARD


def free_memory() -> None:
    """Give back what the failed computation held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@dataclass(kw_only=True)
class Halving:
    """Cuts every micro-batch into `pieces`; `at_steps` says after how many steps they were doubled."""

    layout: LayoutKind
    pad_id: int
    is_allowed: bool = True
    pieces: int = 1
    at_steps: list[int] = field(default_factory=list)
    _done: list[Inputs] = field(default_factory=list)

    @classmethod
    def of(cls, args: TrainingArguments, *, layout: LayoutKind, pad_id: int, updates_early: bool = False) -> "Halving":
        """Begin with whole micro-batches."""
        is_allowed = can_begin_again(str(args.optim), world_size=args.world_size, updates_early=updates_early)
        return cls(layout=layout, pad_id=pad_id, is_allowed=is_allowed)

    def begin_step(self) -> None:
        """Forget the micro-batches of the step before."""
        self._done = []

    def train(
        self, compute: Callable[[Inputs], Tensor], inputs: Inputs, *, begin_again: Callable[[], None], step: int
    ) -> Tensor:
        """Compute loss and gradient of a micro-batch; where memory does not suffice, of ever smaller pieces."""
        while True:
            told = ""
            try:
                loss = self._in_pieces(compute, inputs)
                self._done.append(inputs)
                return loss
            except (MemoryError, RuntimeError) as error:
                most = max(len(each["rows"]) for each in (*self._done, inputs))
                if not (is_out_of_memory(error) and self.is_allowed and self.pieces < most):
                    raise
                told = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            # Outside of the handler, because the exception holds the frames, and they hold the tensors.
            self._halve(told, step=step)
            self._again(compute, begin_again)

    def _again(self, compute: Callable[[Inputs], Tensor], begin_again: Callable[[], None]) -> None:
        """Repeat what the step had done; the failed pass may have left a part of its gradient behind."""
        begin_again()
        done, self._done = self._done, []
        for inputs in done:
            self.train(compute, inputs, begin_again=begin_again, step=self.at_steps[-1])

    def cut(self, all_inputs: Iterable[Inputs]) -> Iterator[Batch]:
        """Give the batches of some micro-batches as they are computed."""
        for inputs in all_inputs:
            yield from (piece["batch"] for piece in self._pieces(inputs))

    def to_json(self) -> dict[str, Any]:
        """Give what a resumed run must repeat."""
        return {"pieces": self.pieces, "at_steps": list(self.at_steps)}

    def choices(self) -> dict[str, Any]:
        """Give what was decided for the user, for the report of the run."""
        return {"halved": self.to_json()} if self.at_steps else {}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on as a checkpoint was left."""
        self.pieces, self.at_steps = saved["pieces"], list(saved["at_steps"])

    def _in_pieces(self, compute: Callable[[Inputs], Tensor], inputs: Inputs) -> Tensor:
        losses = [compute(piece) for piece in self._pieces(inputs)]
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def _pieces(self, inputs: Inputs) -> list[Inputs]:
        rows: Sequence[Any] = inputs["rows"]
        count = min(self.pieces, len(rows))
        if count <= 1:
            return [inputs]
        ends = [len(rows) * number // count for number in range(count + 1)]
        return [
            collate_inputs(list(rows[start:end]), layout=self.layout, pad_id=self.pad_id)
            for start, end in pairwise(ends)
        ]

    def _halve(self, reason: str, *, step: int) -> None:
        free_memory()
        self.pieces *= 2
        self.at_steps.append(step)
        emit_warning(
            warning(
                "resources.batch_halved",
                f"Memory ran out in step {step + 1} ({reason[:200]}). From here on every forward pass is cut "
                f"into {self.pieces} parts; the optimizer step keeps its rows, so loss and gradient stay the same.",
                "Nothing to do. To start so: a smaller per_device_train_batch_size with more "
                "gradient_accumulation_steps, or per_device_train_batch_size: auto.",
                key="per_device_train_batch_size",
            )
        )
