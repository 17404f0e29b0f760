# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets → token rows on disk within the length limit, with a ledger of every row; views say which rows are used.

It refuses before anything is trained: broken rows, and more lost rows than `max_row_loss` allows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from transformers import PreTrainedTokenizerBase

from tunesmith.config.run import RunConfig
from tunesmith.core.errors import Problem, TunesmithError, Where, warning
from tunesmith.core.progress import say
from tunesmith.core.report import emit_warning
from tunesmith.core.types import RowKind
from tunesmith.data.blocks import Block
from tunesmith.data.encoders.base import EncodeRules
from tunesmith.data.examples import read_rows
from tunesmith.data.joined import JoinedTexts
from tunesmith.data.ledger import NOT_SAMPLED, FileRows, Ledger
from tunesmith.data.mixing import MixRules
from tunesmith.data.near_duplicates import near_duplicate_clusters, row_signatures
from tunesmith.data.opening import OpenSet, absent_columns, data_seed, open_sets
from tunesmith.data.preparation.accounts import Complaints, enter_block
from tunesmith.data.preparation.encoding import BlockFacts, bad_groups
from tunesmith.data.preparation.engine import Made, make_shards
from tunesmith.data.preparation.keys import block_key, rules_key
from tunesmith.data.preparation.place import engine_rules, keep_small
from tunesmith.data.preparation.selection import Index, SetRows, hold_out, select, select_plain, whole_records
from tunesmith.data.preparation.sharded import PlacedShard, ShardedStore
from tunesmith.data.preparation.shards import read_facts, shard_path
from tunesmith.data.preparation.workers import Task, Workshop
from tunesmith.data.store import RowsView, TokenRows
from tunesmith.data.stream import TrainStream
from tunesmith.data.stream_opening import OpenedStream, open_stream
from tunesmith.templates.base import ChatTemplate, TrainPolicy

# The name of the rows that `val_size` takes from the training sets.
VALIDATION = "eval"

# Similarity of near-duplicates for the split where near_duplicate_threshold switches their judgement off.
_NEAR = 0.8

Split = Literal["train", "eval"]


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """Token rows ready for training, evaluation rows by name, and the ledger; `train` is None without `dataset`.

    `made` tells what was encoded now and what was found, `folder` where. Where training reads a `stream`, `train` and
    the ledger are those of its first rows.
    """

    train: TokenRows | None
    evals: Mapping[str, TokenRows]
    ledger: Ledger
    made: Made | None = None
    folder: Path | None = None
    stream: TrainStream | None = None

    @property
    def ledger_of_run(self) -> Ledger:
        """The ledger of all rows that were read: of a stream that is trained on, those read so far."""
        if self.stream is None or not self.stream.ledger.num_rows:
            return self.ledger
        ledger = Ledger()
        ledger.include(self.stream.ledger)
        ledger.include(self.ledger, split="eval")
        return ledger


def prepare(
    config: RunConfig, *, tokenizer: PreTrainedTokenizerBase, template: ChatTemplate | None, row_kind: RowKind
) -> PreparedData:
    """Read, check and tokenise all data sets of a configuration; what was prepared before is found again."""
    rules = encode_rules(config, tokenizer, template)
    if config.data.streaming and config.data.dataset:
        evals = prepare(_without_training(config), tokenizer=tokenizer, template=template, row_kind=row_kind)
        return _streamed(open_stream(config, rules, row_kind), evals)
    plugins = tuple(config.run.plugins)
    sources = _open(config, row_kind, rules_key(rules, row_kind, plugins))
    engine = engine_rules(config)
    workshop = Workshop(kind=row_kind, rules=rules, plugins=plugins)
    tasks = [
        Task(block=block, reading=source.opened.reading, path=shard_path(engine.folder, key))
        for source in sources
        for block, key in source.blocks
        if source.opened.reading is not None
    ]
    made = make_shards(workshop, tasks, engine)
    keep_small(engine.folder, config)
    return _Assembly(config, row_kind, sources, made, engine.folder).finish()


def _without_training(config: RunConfig) -> RunConfig:
    return config.with_choices({"dataset": (), "streaming": False, "val_size": 0.0, "val_split_by": "group"})


def _streamed(opened: OpenedStream, evaluation: PreparedData) -> PreparedData:
    """Put a stream and the sets that are evaluated, which are no streams, together."""
    opened.ledger.include(evaluation.ledger)
    held_out = {} if opened.held_out is None else {VALIDATION: opened.held_out}
    return replace(
        evaluation,
        train=opened.head,
        evals={**held_out, **evaluation.evals},
        ledger=opened.ledger,
        stream=opened.stream,
    )


def encode_rules(config: RunConfig, tokenizer: PreTrainedTokenizerBase, template: ChatTemplate | None) -> EncodeRules:
    """Give what encoding depends on besides the rows."""
    data, policy = config.data, config.template
    return EncodeRules(
        tokenizer=tokenizer,
        template=template,
        policy=TrainPolicy(
            train_on_prompt=policy.train_on_prompt,
            mask_history=policy.mask_history,
            default_system=policy.default_system,
        ),
        cutoff_len=data.cutoff_len,
        length_policy=data.length_policy,
    )


@dataclass(frozen=True, kw_only=True)
class _Source:
    """One data set of one part of the run: its used blocks, and the names of their shards."""

    part: Split
    opened: OpenSet
    blocks: tuple[tuple[Block, str], ...]


def _open(config: RunConfig, kind: RowKind, rules: str) -> list[_Source]:
    sources = []
    parts: tuple[Split, ...] = ("train", "eval")
    for part in parts:
        for opened in open_sets(config, kind=kind, part=part, block_rows=config.data.preprocessing_batch_size):
            if opened.decision is not None:
                say(f"{opened.name}: {opened.decision}")
            reading = opened.reading
            keyed = (
                (block, "" if reading is None else block_key(block, reading, rules)) for block in opened.used_blocks()
            )
            sources.append(_Source(part=part, opened=opened, blocks=tuple(keyed)))
    return sources


@dataclass
class _Assembly:
    """Puts the shards of all sets together: what is wrong with rows, which rows are used, and the ledger."""

    config: RunConfig
    kind: RowKind
    sources: Sequence[_Source]
    made: Made
    folder: Path
    ledger: Ledger = field(default_factory=Ledger)

    def finish(self) -> PreparedData:
        """Refuse when anything is wrong or too many rows are lost; else give the rows."""
        problems = self._problems()
        if problems:
            self._fill_ledger(None)
            raise TunesmithError([*problems, *self.ledger.losses(self.config.data.max_row_loss)])
        store, sets = self._store()
        train_sets = [rows for source, rows in zip(self.sources, sets, strict=True) if source.part == "train"]
        data, evals, held_out = self.config.data, dict[str, TokenRows](), None
        train: TokenRows | None = None
        if train_sets:
            held_out = self._held_out(store, train_sets) if data.val_size > 0 and len(store) else None
            train = self._train(store, train_sets, held_out)
            if held_out is not None:
                evals[VALIDATION] = self._joined(RowsView(store, whole_records(train_sets, held_out)))
        evals |= self._evals(store, sets)
        self._fill_ledger(None if held_out is None else _Held(store, np.sort(held_out)))
        self.ledger.check(data.max_row_loss)
        self._refuse_nothing(train, evals)
        return PreparedData(train=train, evals=evals, ledger=self.ledger, made=self.made, folder=self.folder)

    def _problems(self) -> list[Problem]:
        """Collect what is wrong; broken rows are refused, however few, unless the user set `max_row_loss`."""
        complaints = Complaints()
        problems: list[Problem] = []
        for source in self.sources:
            problems.extend(source.opened.problems)
            columns: dict[str, None] = {}
            for block, key in source.blocks:
                facts = self._facts(source, block, key)
                complaints.add(block, facts)
                columns.update(dict.fromkeys(facts.columns))
            if source.opened.reading is not None and columns:
                problems.extend(absent_columns(source.opened.data_set, columns))
        if not self.config.is_set("max_row_loss"):
            problems.extend(complaints.faults())
        return [*problems, *complaints.too_long(self.config.data.cutoff_len)]

    def _facts(self, source: _Source, block: Block, key: str) -> BlockFacts:
        if source.opened.reading is not None:
            return read_facts(shard_path(self.folder, key))
        # It cannot be told how to read the set: only rows that are no records can be judged.
        return BlockFacts(num_rows=block.num_chosen, bad=bad_groups(read_rows(block, None, self.kind).bad_rows))

    def _fill_ledger(self, held: "_Held | None") -> None:
        number = 0
        for source in self.sources:
            for file, count, rows in source.opened.left_out():
                self.ledger.enter(source.part, source.opened.name, count)
                left_out = FileRows(source.opened.name, file, count, rows)
                self.ledger.add(source.part, left_out, "dropped", NOT_SAMPLED)
            for block, key in source.blocks:
                taken = held.rows_of(number) if held is not None and source.part == "train" else None
                facts = self._facts(source, block, key)
                if not self.config.is_set("max_row_loss"):
                    facts = replace(facts, bad=())  # They are refused by themselves.
                enter_block(self.ledger, source.part, block, facts, held_out=taken)
                number += 1

    def _store(self) -> tuple[ShardedStore, list[SetRows]]:
        placed = [
            PlacedShard(self.made.shards[shard_path(self.folder, key)], block.dataset, block.file)
            for source in self.sources
            for block, key in source.blocks
        ]
        store = ShardedStore(placed)
        sets, first = [], 0
        for source in self.sources:
            starts = _record_starts(source)
            sets.append(SetRows(store=store, chosen=source.opened.chosen, first_shard=first, record_starts=starts))
            first += len(starts)
        return store, sets

    def _held_out(self, store: ShardedStore, sets: Sequence[SetRows]) -> Index:
        data = self.config.data
        clusters = None
        if data.val_split_by == "near_duplicates":
            clusters = near_duplicate_clusters(row_signatures(store), data.near_duplicate_threshold or _NEAR)
        split = hold_out(sets, data.val_size, seed=data_seed(self.config), by=data.val_split_by, clusters=clusters)
        if split.num_shared:
            emit_warning(_shared_rows(split.num_shared, len(split.held_out)))
        return split.held_out

    def _evals(self, store: ShardedStore, sets: Sequence[SetRows]) -> dict[str, TokenRows]:
        """Give the evaluation sets by name, or several mixed into one as training sets are (LLaMA-Factory's way)."""
        pairs = zip(self.sources, sets, strict=True)
        named = {source.opened.name: rows for source, rows in pairs if source.part == "eval"}
        if len(named) < 2 or self.config.data.eval_on_each_dataset:
            return {name: self._joined(RowsView(store, select([rows], MixRules()))) for name, rows in named.items()}
        return {VALIDATION: self._joined(RowsView(store, select(list(named.values()), self._mix_rules)))}

    @property
    def _mix_rules(self) -> MixRules:
        data = self.config.data
        return MixRules(strategy=data.mix_strategy, weights=data.interleave_probs, seed=data_seed(self.config))

    def _train(self, store: ShardedStore, sets: Sequence[SetRows], held_out: Index | None) -> TokenRows:
        rules = self._mix_rules
        plain = select_plain(sets, rules) if held_out is None else None
        if plain is not None and plain == slice(0, len(store)):
            return self._joined(store)
        index = np.arange(plain.start, plain.stop) if plain is not None else select(sets, rules, without=held_out)
        return self._joined(RowsView(store, index))

    def _joined(self, rows: TokenRows) -> TokenRows:
        """As in LLaMA-Factory, texts are packed by putting one after the other; neat_packing keeps them apart."""
        data = self.config.data
        if self.kind == "text" and data.packing is not False and not data.neat_packing:
            return JoinedTexts(rows, data.cutoff_len)
        return rows

    def _refuse_nothing(self, train: TokenRows | None, evals: Mapping[str, TokenRows]) -> None:
        names = [source.opened.name for source in self.sources if source.part == "train"]
        parts = [("train", names, train)] if train is not None else []
        problems = [
            _nothing_left(split, datasets, self.ledger)
            for split, datasets, rows in [*parts, *(("eval", [name], rows) for name, rows in evals.items())]
            if not len(rows)
        ]
        if problems:
            raise TunesmithError(problems)


@dataclass(frozen=True)
class _Held:
    """The evaluation rows taken from training sets: sorted first token rows of their records."""

    store: ShardedStore
    firsts: Index

    def rows_of(self, shard: int) -> Index:
        """Give the records of a shard's file that are held out."""
        low, high = np.searchsorted(self.firsts, self.store.starts[shard : shard + 2])
        rows: Index = self.store.source_rows[self.firsts[low:high]]
        return rows


def _record_starts(source: _Source) -> Index:
    """Give, for each used block, the number in the set of its first record, less its number in the file."""
    begins: dict[tuple[int, int], int] = {}
    total = 0
    for block in source.opened.blocks:
        begins[block.file_number, block.span.start.row] = total - block.span.start.row
        total += block.num_rows
    return np.array([begins[block.file_number, block.span.start.row] for block, _ in source.blocks], dtype=np.int64)


def _shared_rows(num_shared: int, num_held: int) -> Problem:
    return warning(
        "data.split_shares_rows",
        f"Of {num_held} evaluation rows {num_shared} have a prompt or long answer that is also trained on: there the "
        "evaluation measures memory.",
        "Write val_split_by: group, which keeps such rows on one side.",
        key="val_split_by",
    )


def _nothing_left(split: str, datasets: Sequence[str], ledger: Ledger) -> Problem:
    return Problem(
        code="data.rows_none",
        message=f"No row is left for {split}: all were dropped.\n{ledger.table()}",
        remedy="Raise cutoff_len or change length_policy; the lines above say why rows were dropped.",
        where=Where(dataset=datasets[0], num_rows=0),
    )
