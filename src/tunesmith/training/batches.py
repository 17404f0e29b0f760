# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Planned micro-batches as a data loader: the plan says which rows, this file fetches and collates them.

The plan of an epoch is computed from its number alone, so that going on in the middle of an epoch is an index.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from tunesmith.core.progress import say
from tunesmith.core.types import Batch, LayoutKind, TokenRow
from tunesmith.data.bins import MicroBatch, RowGroups
from tunesmith.data.collate import collate
from tunesmith.data.plan import PlanRules, plan_epoch
from tunesmith.data.planned_lengths import planned_lengths
from tunesmith.data.store import TokenRows

# The batch, and the rows it was made of, by which it can be cut into smaller ones. A mapping, because transformers
# hands inputs through functions that expect one.
Inputs = dict[str, Any]


class PlannedBatches:
    """The micro-batches of one rank in one epoch, as a batch sampler."""

    def __init__(self, store: TokenRows, rules: PlanRules, *, rank: int = 0) -> None:
        self._lengths, self._rules, self._rank = planned_lengths(store, rules), rules, rank
        self._epoch = 0
        self._plan = plan_epoch(self._lengths, rules, epoch=0, rank=rank)

    @property
    def batch_sampler(self) -> "PlannedBatches":
        """This object: the trainer looks for the sampler to tell of epochs inside the loader's sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Plan another epoch."""
        if epoch != self._epoch:
            self._epoch = epoch
            self._plan = plan_epoch(self._lengths, self._rules, epoch=epoch, rank=self._rank)

    def __len__(self) -> int:
        """Count the micro-batches; the same in every epoch."""
        return len(self._plan)

    def __iter__(self) -> Iterator[MicroBatch]:
        """Give the row indices of each micro-batch."""
        return iter(self._plan)


@dataclass(frozen=True, kw_only=True)
class LoaderSettings:
    """How batches are fetched; nothing here changes what is in them."""

    layout: LayoutKind
    pad_id: int
    num_workers: int = 0
    prefetch_factor: int | None = None
    persistent_workers: bool = False


def num_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def num_workers(asked: int) -> int:
    """Give the processes that load batches: as many as asked, but no more than there are cores."""
    cores = num_cores()
    if asked > cores:
        say(f"dataloader_num_workers: {asked} is lowered to {cores}, the number of cores.")
    return min(asked, cores)


def build_loader(store: TokenRows, batches: PlannedBatches, settings: LoaderSettings) -> DataLoader[TokenRow]:
    """Make the data loader of planned batches; it draws nothing from the global random generator."""
    return DataLoader(
        store,  # type: ignore[arg-type]
        batch_sampler=batches,  # type: ignore[arg-type]
        collate_fn=partial(collate_inputs, layout=settings.layout, pad_id=settings.pad_id),
        num_workers=settings.num_workers,
        prefetch_factor=settings.prefetch_factor,
        persistent_workers=settings.persistent_workers and settings.num_workers > 0,
        generator=torch.Generator().manual_seed(0),
    )


def collate_inputs(rows: list[TokenRow], *, layout: LayoutKind, pad_id: int) -> Inputs:
    """Collate rows into the trainer's inputs."""
    return {"batch": collate(rows, layout=layout, pad_id=pad_id), "rows": tuple(rows)}


def evaluation_rules(rules: PlanRules, *, batch_rows: int, world_size: int) -> PlanRules:
    """Give the rules of an evaluation beside a training plan: all rows, in the same layout and token budget."""
    return replace(
        rules, batch_rows=batch_rows, world_size=world_size, gradient_accumulation_steps=1, shuffle=False,
        drop_last=False,
    )  # fmt: skip


def plan_in_order(store: TokenRows, rules: PlanRules, *, rank: int = 0) -> RowGroups:
    """Plan one pass over all rows, neighbours of similar length together, for evaluation."""
    lengths = planned_lengths(store, rules)
    order = np.argsort(-lengths, kind="stable").astype(np.int32)
    plan = plan_epoch(lengths[order], replace(rules, shuffle=False), epoch=0, rank=rank)
    return RowGroups(rows=order[plan.rows], offsets=plan.offsets)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Move the tensors of a batch to a device."""
    values = {item.name: getattr(batch, item.name) for item in fields(batch)}
    moved: dict[str, Any] = {
        name: value.to(device, non_blocking=True) for name, value in values.items() if isinstance(value, torch.Tensor)
    }
    return replace(batch, **moved)
