# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Which batches are worth trying, which rows are the worst of a run, and one training pass over them to see if it fits.

The rows of the optimizer step never change: a smaller batch means more passes.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from tunesmith.core.types import Batch, IntArray, LayoutKind
from tunesmith.models.scores import score_batch
from tunesmith.objectives.base import Objective
from tunesmith.training.halving import free_memory, is_out_of_memory


@dataclass(frozen=True, kw_only=True)
class BatchSize:
    """Rows (or packed sequences) of a pass, or its tokens; and the passes of an optimizer step."""

    rows: int | None = None
    tokens: int | None = None
    passes: int = 1

    def told(self) -> str:
        """Write the size for people."""
        what = (
            f"{self.tokens:,} tokens" if self.tokens is not None else f"{self.rows} row{'' if self.rows == 1 else 's'}"
        )
        return f"{what} × {self.passes} pass{'' if self.passes == 1 else 'es'}"


def row_sizes(rows: int, passes: int) -> list[BatchSize]:
    """Give all ways to cut the rows of a step into equal passes, the largest passes first."""
    total = rows * passes
    return [BatchSize(rows=size, passes=total // size) for size in range(total, 0, -1) if total % size == 0]


def token_sizes(tokens: int, passes: int, *, least: int) -> list[BatchSize]:
    """Give ways to cut the tokens of a step into equal passes of at least `least` tokens, halving from the whole."""
    total, sizes = tokens * passes, list[BatchSize]()
    count = 1
    while total // count >= min(least, total):
        sizes.append(BatchSize(tokens=total // count, passes=count))
        count *= 2
    return sizes


def worst_rows(lengths: IntArray, size: BatchSize, *, pack_tokens: int | None, layout: LayoutKind) -> list[int]:
    """Choose the rows of the largest batch that can come up: the longest ones, as many as the size allows."""
    order = np.argsort(-lengths, kind="stable")
    budget = size.tokens
    if budget is None and pack_tokens is not None:
        assert size.rows is not None
        budget = size.rows * pack_tokens
    if budget is None:
        return [int(row) for row in order[: size.rows]]
    sorted_lengths = lengths[order].astype(np.int64)
    counts = np.arange(1, len(order) + 1)
    used = np.cumsum(sorted_lengths) if layout == "packed" else counts * int(sorted_lengths[0])
    return [int(row) for row in order[: max(1, int((used <= budget).sum()))]]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a pass needs beside its batch: the loss, number formats, and bytes that the optimizer will take."""

    model: nn.Module
    objective: Objective
    formats: Callable[[], AbstractContextManager[None]]
    reserve_bytes: int = 0

    def fits(self, batch: Batch) -> bool:
        """Say whether loss and gradient of a batch can be computed in the memory that there is."""
        fits = True
        reserved: list[torch.Tensor] = []
        try:
            device = batch.input_ids_BT.device
            # Filled, because untouched pages take no memory.
            reserved.append(torch.ones(self.reserve_bytes, dtype=torch.uint8, device=device))
            self._pass(batch)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            fits = False
        reserved.clear()
        self.model.zero_grad(set_to_none=True)
        free_memory()
        return fits

    def _pass(self, batch: Batch) -> None:
        was_training = self.model.training
        self.model.train()
        devices: Sequence[torch.device] = [batch.input_ids_BT.device] if batch.input_ids_BT.is_cuda else []
        try:
            with ExitStack() as stack:
                stack.enter_context(torch.random.fork_rng(devices=devices))
                with self.formats():
                    policy = score_batch(self.model, batch)
                    loss = self.objective.at_reference(batch, policy).loss
                loss.backward()
        finally:
            self.model.train(was_training)


def first_that_fits(
    sizes: Sequence[BatchSize], fits: Callable[[BatchSize], bool], *, tell: Callable[[str], None]
) -> BatchSize | None:
    """Try sizes from the largest down; None where none fits."""
    for size in sizes:
        if fits(size):
            return size
        tell(f"{size.told()}: does not fit.")
    return None
