# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Finished shards → training and evaluation rows and the ledger, or a refusal of everything that is wrong with rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tunesmith.config.run import RunConfig
from tunesmith.core.errors import Problem, TunesmithError, Where, warning
from tunesmith.core.report import emit_warning
from tunesmith.core.types import RowKind
from tunesmith.data.examples import read_rows
from tunesmith.data.joined import JoinedTexts
from tunesmith.data.ledger import NOT_SAMPLED, FileRows, Ledger
from tunesmith.data.mixing import MixRules
from tunesmith.data.near_duplicates import near_duplicate_clusters, row_signatures
from tunesmith.data.opening import absent_columns, data_seed
from tunesmith.data.preparation.accounts import Complaints, enter_block
from tunesmith.data.preparation.encoding import BlockFacts, bad_groups
from tunesmith.data.preparation.engine import Made
from tunesmith.data.preparation.planned import PlannedBlock, PlannedSet
from tunesmith.data.preparation.selection import (
    Index,
    SetRows,
    hold_out,
    select,
    select_plain,
    unreached,
    whole_records,
)
from tunesmith.data.preparation.sharded import PlacedShard, ShardedStore
from tunesmith.data.preparation.shards import read_facts, shard_path
from tunesmith.data.store import RowsView, TokenRows

# The name of the rows that `val_size` takes from the training sets, and of evaluation sets that are mixed.
VALIDATION = "eval"

# Similarity of near-duplicates for the split where near_duplicate_threshold switches their judgement off.
_NEAR = 0.8


@dataclass(frozen=True, kw_only=True)
class Assembled:
    """Rows for training, rows for evaluation by name, and the ledger."""

    train: TokenRows | None
    evals: Mapping[str, TokenRows]
    ledger: Ledger


@dataclass
class Assembly:
    """Puts the shards of all sets together: what is wrong with rows, which rows are used, and the ledger."""

    config: RunConfig
    kind: RowKind
    sets: Sequence[PlannedSet]
    made: Made
    folder: Path
    ledger: Ledger = field(default_factory=Ledger)
    _unmixed: "dict[str, _Records]" = field(default_factory=dict)

    def finish(self) -> Assembled:
        """Refuse when anything is wrong or too many rows are lost; else give the rows."""
        problems = self._problems()
        if problems:
            self._fill_ledger()
            raise TunesmithError([*problems, *self.ledger.losses(self.config.data.max_row_loss)])
        store, sets = self._store()
        train_sets = [rows for planned, rows in zip(self.sets, sets, strict=True) if planned.part == "train"]
        data, evals, held_out = self.config.data, dict[str, TokenRows](), None
        train: TokenRows | None = None
        if train_sets:
            held_out = self._held_out(store, train_sets) if data.val_size > 0 and len(store) else None
            train = self._train(store, train_sets, held_out)
            if held_out is not None:
                evals[VALIDATION] = self._joined(RowsView(store, whole_records(train_sets, held_out)))
        evals |= self._evals(store, sets)
        self._fill_ledger(None if held_out is None else _Records(store, np.sort(held_out)))
        self.ledger.check(data.max_row_loss)
        self._refuse_nothing(train, evals)
        return Assembled(train=train, evals=evals, ledger=self.ledger)

    def _problems(self) -> list[Problem]:
        """Collect what is wrong; broken rows are refused, however few, unless the user set `max_row_loss`."""
        complaints = Complaints()
        problems: list[Problem] = []
        for planned in self.sets:
            problems.extend(planned.problems)
            columns: dict[str, None] = {}
            for one in planned.blocks:
                facts = self._facts(one)
                complaints.add(one.block, facts)
                columns.update(dict.fromkeys(facts.columns))
            if planned.reading is not None and planned.data_set is not None and columns:
                problems.extend(absent_columns(planned.data_set, columns))
        is_unreadable = any(planned.reading is None and planned.blocks for planned in self.sets)
        if is_unreadable or not self.config.is_set("max_row_loss"):
            problems.extend(complaints.faults())
        return [*problems, *complaints.too_long(self.config.data.cutoff_len)]

    def _facts(self, planned: PlannedBlock) -> BlockFacts:
        if planned.key:
            return read_facts(shard_path(self.folder, planned.key))
        # It cannot be told how to read the set: only rows that are no records can be judged.
        bad_rows = read_rows(planned.block, None, self.kind).bad_rows
        return BlockFacts(num_rows=planned.block.num_chosen, bad=bad_groups(bad_rows))

    def _fill_ledger(self, held: "_Records | None" = None) -> None:
        number = 0
        for planned in self.sets:
            for file, count, rows in planned.left_out:
                self.ledger.enter(planned.part, planned.name, count)
                self.ledger.add(planned.part, FileRows(planned.name, file, count, rows), "dropped", NOT_SAMPLED)
            for one in planned.blocks:
                taken = held.rows_of(number) if held is not None and planned.part == "train" else None
                unmixed = self._unmixed[planned.part].rows_of(number) if planned.part in self._unmixed else None
                facts = self._facts(one)
                if not self.config.is_set("max_row_loss"):
                    facts = replace(facts, bad=())  # They are refused by themselves.
                enter_block(self.ledger, planned.part, one.block, facts, held_out=taken, unmixed=unmixed)
                number += 1

    def _store(self) -> tuple[ShardedStore, list[SetRows]]:
        placed = [
            PlacedShard(self.made.shards[shard_path(self.folder, one.key)], one.block.dataset, one.block.file)
            for planned in self.sets
            for one in planned.blocks
        ]
        store = ShardedStore(placed)
        sets, first = [], 0
        for planned in self.sets:
            offsets = planned.offsets
            sets.append(SetRows(store=store, chosen=planned.chosen, first_shard=first, record_starts=offsets))
            first += len(offsets)
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
        pairs = zip(self.sets, sets, strict=True)
        named = {planned.name: rows for planned, rows in pairs if planned.part == "eval"}
        if len(named) < 2 or self.config.data.eval_on_each_dataset:
            return {name: self._joined(RowsView(store, select([rows], MixRules()))) for name, rows in named.items()}
        return {VALIDATION: self._joined(RowsView(store, self._mixed("eval", list(named.values()))))}

    @property
    def _mix_rules(self) -> MixRules:
        data = self.config.data
        return MixRules(strategy=data.mix_strategy, weights=data.interleave_probs, seed=data_seed(self.config))

    def _train(self, store: ShardedStore, sets: Sequence[SetRows], held_out: Index | None) -> TokenRows:
        rules = self._mix_rules
        plain = select_plain(sets, rules) if held_out is None else None
        if plain is not None and plain == slice(0, len(store)):
            return self._joined(store)
        index = np.arange(plain.start, plain.stop) if plain is not None else self._mixed("train", sets, held_out)
        return self._joined(RowsView(store, index))

    def _mixed(self, part: str, sets: Sequence[SetRows], without: Index | None = None) -> Index:
        """Mix sets, and note which rows the mix does not reach."""
        index = select(sets, self._mix_rules, without=without)
        if self._mix_rules.strategy == "interleave_under":
            self._unmixed[part] = _Records(sets[0].store, unreached(sets, index, without=without))
        return index

    def _joined(self, rows: TokenRows) -> TokenRows:
        """As in LLaMA-Factory, texts are packed by putting one after the other; neat_packing keeps them apart."""
        data = self.config.data
        if self.kind == "text" and data.packing is not False and not data.neat_packing:
            return JoinedTexts(rows, data.cutoff_len)
        return rows

    def _refuse_nothing(self, train: TokenRows | None, evals: Mapping[str, TokenRows]) -> None:
        names = [planned.name for planned in self.sets if planned.part == "train"]
        parts = [("train", names, train)] if train is not None else []
        problems = [
            _nothing_left(split, datasets, self.ledger)
            for split, datasets, rows in [*parts, *(("eval", [name], rows) for name, rows in evals.items())]
            if not len(rows)
        ]
        if problems:
            raise TunesmithError(problems)


@dataclass(frozen=True)
class _Records:
    """Some records of a store, by their first token rows, sorted."""

    store: ShardedStore
    firsts: Index

    def rows_of(self, shard: int) -> Index:
        """Give the numbers in their file of those that lie in a shard."""
        low, high = np.searchsorted(self.firsts, self.store.starts[shard : shard + 2])
        rows: Index = self.store.source_rows[self.firsts[low:high]]
        return rows


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
