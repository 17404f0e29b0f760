# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets → token rows on disk within the length limit, with a ledger of every row; views say which rows are used.

It refuses before anything is trained: broken rows, and more lost rows than `max_row_loss` allows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from tunesmith.config.run import RunConfig
from tunesmith.core.errors import TunesmithError
from tunesmith.core.progress import say
from tunesmith.core.types import RowKind
from tunesmith.data.encoders.base import EncodeRules
from tunesmith.data.ledger import Ledger
from tunesmith.data.opening import open_sets
from tunesmith.data.preparation.assembly import VALIDATION, Assembly
from tunesmith.data.preparation.engine import Made, find_shards, make_shards
from tunesmith.data.preparation.index import save_index, stand_in
from tunesmith.data.preparation.keys import rules_key
from tunesmith.data.preparation.place import engine_rules, keep_small
from tunesmith.data.preparation.planned import PlannedSet, Split, plan_set
from tunesmith.data.preparation.shards import shard_path
from tunesmith.data.preparation.workers import Task, Workshop
from tunesmith.data.store import TokenRows
from tunesmith.data.stream import TrainStream
from tunesmith.data.stream_opening import OpenedStream, open_stream
from tunesmith.templates.base import ChatTemplate
from tunesmith.templates.run_template import policy_of

__all__ = ["VALIDATION", "PreparedData", "Split", "encode_rules", "prepare"]


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
    key = rules_key(rules, row_kind, plugins)
    engine = engine_rules(config)
    try:
        sets = _plan(config, row_kind, key)
        made = make_shards(Workshop(kind=row_kind, rules=rules, plugins=plugins), _tasks(sets, engine.folder), engine)
        save_index(config, row_kind, key, sets)
    except TunesmithError as error:
        sets = stand_in(config, row_kind, key, error)
        made = find_shards([shard_path(engine.folder, one.key) for planned in sets for one in planned.blocks])
    keep_small(engine.folder, config)
    found = Assembly(config, row_kind, sets, made, engine.folder).finish()
    return PreparedData(train=found.train, evals=found.evals, ledger=found.ledger, made=made, folder=engine.folder)


def _plan(config: RunConfig, kind: RowKind, rules: str) -> list[PlannedSet]:
    sets = []
    parts: tuple[Split, ...] = ("train", "eval")
    for part in parts:
        for opened in open_sets(config, kind=kind, part=part, block_rows=config.data.preprocessing_batch_size):
            if opened.decision is not None:
                say(f"{opened.name}: {opened.decision}")
            if opened.note is not None:
                say(f"{opened.name}: {opened.note}")
            sets.append(plan_set(opened, part, rules))
    return sets


def _tasks(sets: Sequence[PlannedSet], folder: Path) -> list[Task]:
    return [
        Task(block=one.block, reading=planned.reading, path=shard_path(folder, one.key))
        for planned in sets
        for one in planned.blocks
        if planned.reading is not None
    ]


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
    data = config.data
    return EncodeRules(
        tokenizer=tokenizer,
        template=template,
        policy=policy_of(config),
        cutoff_len=data.cutoff_len,
        length_policy=data.length_policy,
    )
