# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Opening the training sets as a stream: its first rows prepared and judged, and evaluation rows taken from them.

The rows behind the first ones are not looked at; training judges them as it reads them.
"""

from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from tunesmith.config.run import RunConfig
from tunesmith.core.errors import Problem, TunesmithError, refusal, warning
from tunesmith.core.progress import say
from tunesmith.core.report import emit_warning
from tunesmith.core.types import RowKind, RowRef
from tunesmith.data.blocks import cut_blocks, read_block
from tunesmith.data.encoders.base import EncodeRules
from tunesmith.data.groups import Index, grouping_answers
from tunesmith.data.ledger import Ledger
from tunesmith.data.mixing import MixRules
from tunesmith.data.opening import data_seed
from tunesmith.data.recognition import SAMPLE_ROWS, Reading, choose_reading
from tunesmith.data.sets import DataSet, find_sets
from tunesmith.data.sources.base import Record
from tunesmith.data.store import RowsView, TokenRows
from tunesmith.data.stream import HEAD_ROWS, TrainStream
from tunesmith.data.stream_parts import Hashes, HeldOut, PartReader, StreamPart, StreamRecipe
from tunesmith.data.stream_windows import WindowRules, WindowStart

# Records that are encoded at a time: a resume encodes at most so many anew before it goes on.
PART_ROWS = 512


@dataclass(frozen=True, kw_only=True)
class OpenedStream:
    """A stream, its first rows and the evaluation rows among them (None without val_size), and what became of them."""

    stream: TrainStream
    head: TokenRows
    held_out: TokenRows | None
    ledger: Ledger


def open_stream(config: RunConfig, rules: EncodeRules, kind: RowKind) -> OpenedStream:
    """Open the training sets of a configuration, or refuse what is wrong with their first rows."""
    data = config.data
    sets = find_sets(data.dataset, data.dataset_dir, key="dataset", formatting=data.formatting)
    for data_set in sets:
        _refuse_slices(data_set)
    shuffle = not config.training.disable_shuffling
    mix = MixRules(strategy=data.mix_strategy, weights=data.interleave_probs, seed=data_seed(config))
    recipe = StreamRecipe(
        sets=tuple(sets),
        readings=tuple(_readings(sets, kind)),
        kind=kind,
        rules=rules,
        windows=WindowRules(size=data.buffer_size, mix=mix, shuffle=shuffle),
        part_rows=min(PART_ROWS, data.buffer_size),
        plugins=tuple(config.run.plugins),
    )
    if len(sets) > 1 and mix.strategy == "concat":
        emit_warning(
            warning(
                "data.stream_unmixed",
                "mix_strategy is concat: the sets of a stream are read one after the other, so rows of different sets "
                "never meet in a step.",
                "Write mix_strategy: interleave_once (or interleave_over) to mix them.",
                key="mix_strategy",
            )
        )
    return _with_head(config, recipe)


def _readings(sets: list[DataSet], kind: RowKind) -> list[Reading]:
    """Recognise how each set is read, from its first records."""
    readings: list[Reading] = []
    problems: list[Problem] = []
    for data_set in sets:
        records = (entry for block in cut_blocks(data_set) for entry in read_block(block))
        sample = list(islice((entry.values for entry in records if isinstance(entry, Record)), SAMPLE_ROWS))
        reading = choose_reading(data_set, sample, kind=kind)
        if isinstance(reading, Problem):
            problems.append(reading)
            continue
        readings.append(reading)
        if reading.decision is not None:
            say(f"{data_set.name}: {reading.decision}")
    if problems:
        raise TunesmithError(problems)
    return readings


def _with_head(config: RunConfig, recipe: StreamRecipe) -> OpenedStream:
    """Prepare the first rows, take evaluation rows from them, and refuse what is wrong."""
    size = max(HEAD_ROWS, 4 * int(config.data.val_size))
    head_recipe = replace(
        recipe, windows=replace(recipe.windows, size=size, shuffle=False), part_rows=size, keeps_traits=True
    )
    part = next(PartReader(head_recipe).parts(WindowStart.first(len(recipe.sets))))
    held = _choose_held_out(part, int(config.data.val_size), seed=data_seed(config))
    hashes = _hashes_of(part, held)
    is_left = ~hashes.marks(part.rows.traits) if len(held) else np.ones(len(part.rows), dtype=bool)
    shared = np.setdiff1d(np.flatnonzero(~is_left), held)
    stream = TrainStream(
        recipe=replace(recipe, held_out=hashes),
        max_row_loss=config.data.max_row_loss,
        may_drop_broken=config.is_set("max_row_loss"),
    )
    ledger = stream.judge(part, held_out=_sources(part, held), left_out=_sources(part, shared))
    ledger.check(config.data.max_row_loss)
    if not is_left.any():
        _refuse_nothing_left(config, part, ledger)
    return OpenedStream(
        stream=stream,
        head=RowsView(part.rows, np.flatnonzero(is_left)),
        held_out=RowsView(part.rows, held) if len(held) else None,
        ledger=ledger,
    )


def _sources(part: StreamPart, rows: Index) -> set[RowRef]:
    return {part.rows.source(row) for row in rows.tolist()}


def _refuse_nothing_left(config: RunConfig, part: StreamPart, ledger: Ledger) -> None:
    num_read = sum(part.entered.values())
    if len(part.rows):
        raise refusal(
            "data.split_impossible",
            f"val_size holds out {config.data.val_size:g} of the first {num_read} rows of the stream, and all others "
            "have a prompt or a long answer in common with them.",
            "Lower val_size, or name other rows as eval_dataset.",
            key="val_size",
        )
    raise refusal(
        "data.rows_none",
        f"No row is left of the first {num_read} of the stream.\n{ledger.table()}",
        "Raise cutoff_len or change length_policy; the lines above say why rows were dropped.",
    )


def _choose_held_out(part: StreamPart, count: int, *, seed: int) -> Index:
    """Take the rows of `count` records, those whose prompts have the smallest hashes under the seed."""
    prompts, entries = part.rows.traits["prompt"], part.entry_of_row
    order = np.lexsort((entries, _rehash(prompts, seed)))
    _, first = np.unique(entries[order], return_index=True)
    chosen = entries[order][np.sort(first)[:count]]
    held: Index = np.flatnonzero(np.isin(entries, chosen))
    return held


def _hashes_of(part: StreamPart, held: Index) -> HeldOut:
    """Name the prompts and long answers that training leaves out."""
    traits = part.rows.traits
    counts = grouping_answers(traits["answer"], traits["answer_chars"])[held]
    return HeldOut(prompts=np.unique(traits["prompt"][held]), answers=np.unique(traits["answer"][held][counts]))


def _rehash(hashes: Hashes, seed: int) -> Hashes:
    """Give hashes that follow a seed, by the mixing steps of splitmix64."""
    mixed = hashes + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _refuse_slices(data_set: DataSet) -> None:
    if data_set.split != "train":
        raise refusal(
            "data.stream_sliced",
            f"The data set {data_set.name} is described as the slice {data_set.split!r}, which a stream cannot take.",
            "Write the rows to a file of their own, or leave streaming out.",
            dataset=data_set.name,
        )
    if data_set.num_samples is not None:
        emit_warning(
            warning(
                "data.stream_unsampled",
                f"num_samples of the data set {data_set.name} has no effect: a stream reads all rows.",
                "Leave it out, or set shares with interleave_probs.",
                dataset=data_set.name,
            )
        )
