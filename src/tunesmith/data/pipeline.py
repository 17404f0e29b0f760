# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets → examples → token rows within the length limit, with a ledger of every row.

It refuses before anything is trained: broken rows, and more lost rows than `max_row_loss` allows.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from transformers import PreTrainedTokenizerBase

from tunesmith.config.run import RunConfig
from tunesmith.core.errors import Problem, TunesmithError, Where
from tunesmith.core.progress import Progress, say
from tunesmith.core.types import Example, RowKind, RowRef
from tunesmith.data.encoders.base import Encoder, EncodeRules, Notes, encoders
from tunesmith.data.examples import BadRow, ReadSet, data_seed, group_bad_rows, read_sets
from tunesmith.data.joined import JoinedTexts
from tunesmith.data.ledger import NOT_SAMPLED, Ledger
from tunesmith.data.split import split_examples
from tunesmith.data.store import TokenStore, build_store
from tunesmith.templates.base import ChatTemplate, TrainPolicy

# The name of the rows that `val_size` takes from the training sets.
VALIDATION = "eval"
_TRAIN = ""  # No data set has this name.

Split = Literal["train", "eval"]


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """Token rows ready for training, evaluation rows by name, and the ledger; `train` is None without `dataset`."""

    train: TokenStore | None
    evals: Mapping[str, TokenStore]
    ledger: Ledger


def prepare(
    config: RunConfig, *, tokenizer: PreTrainedTokenizerBase, template: ChatTemplate | None, row_kind: RowKind
) -> PreparedData:
    """Read, check and tokenise all data sets of a configuration."""
    train_sets = list(read_sets(config, kind=row_kind, part="train"))
    eval_sets = list(read_sets(config, kind=row_kind, part="eval"))
    for read in (*train_sets, *eval_sets):
        if read.decision is not None:
            say(f"{read.name}: {read.decision}")
    parts = _parts_of(config, train_sets, eval_sets)
    rules = _rules_of(config, tokenizer, template, row_kind)
    preparation = _Preparation(
        config, encoders.get(row_kind)(rules), num_rows=sum(len(part.examples) for part in parts)
    )
    preparation.joins_texts = _joins_texts(config, row_kind)
    preparation.enter(train_sets, "train")
    preparation.enter(eval_sets, "eval")
    stores = {part.name: preparation.encode(part) for part in parts}
    preparation.finish()
    train = stores.pop(_TRAIN, None)
    return PreparedData(train=train, evals=stores, ledger=preparation.ledger)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Examples that become one store; `split` is its side in the ledger."""

    name: str
    split: Split
    examples: Sequence[Example]


def _parts_of(config: RunConfig, train_sets: Sequence[ReadSet], eval_sets: Sequence[ReadSet]) -> list[_Part]:
    """Mix the training sets one after the other, take the validation rows out, and keep evaluation sets apart."""
    examples = [example for read in train_sets for example in read.examples]
    parts = []
    if config.data.val_size > 0 and examples:
        examples, held_out = split_examples(examples, config.data.val_size, seed=data_seed(config))
        parts.append(_Part(name=VALIDATION, split="eval", examples=held_out))
    if train_sets:
        parts.insert(0, _Part(name=_TRAIN, split="train", examples=examples))
    return [*parts, *(_Part(name=read.name, split="eval", examples=read.examples) for read in eval_sets)]


def _rules_of(
    config: RunConfig, tokenizer: PreTrainedTokenizerBase, template: ChatTemplate | None, row_kind: RowKind
) -> EncodeRules:
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
        # Texts that follow one another are cut nowhere, LLaMA-Factory's either.
        length_policy="split"
        if _joins_texts(config, row_kind) and data.length_policy == "ratio"
        else data.length_policy,
    )


def _joins_texts(config: RunConfig, row_kind: RowKind) -> bool:
    """Say whether texts follow one another in full rows, LLaMA-Factory's packing; neat_packing keeps them apart."""
    return row_kind == "text" and config.data.packing is not False and not config.data.neat_packing


class _Preparation:
    """Encodes parts and collects everything that is wrong, to be refused at the end in one error.

    Broken rows are refused, however few, unless the user set `max_row_loss`: then they count as lost rows.
    """

    def __init__(self, config: RunConfig, encoder: Encoder, *, num_rows: int) -> None:
        self.ledger = Ledger()
        self._encoder = encoder
        self._data = config.data
        self.joins_texts = False
        self._may_drop_broken = config.is_set("max_row_loss")
        self._problems: list[Problem] = []
        self._empty_parts: list[_Part] = []
        self._progress = Progress("Preparing data", num_rows, "rows")

    def enter(self, sets: Sequence[ReadSet], split: Split) -> None:
        """Enter what reading found: rows left out, broken rows, and problems of whole files."""
        for read in sets:
            self._problems.extend(read.problems)
            self.ledger.enter(split, read.name, len(read.left_out) + len(read.bad_rows))
            for source in read.left_out:
                self.ledger.record(split, source, "dropped", NOT_SAMPLED)
            self._take_broken(split, read.bad_rows)

    def encode(self, part: _Part) -> TokenStore:
        """Encode one part and enter its rows."""
        for name, count in Counter(example.source.dataset for example in part.examples).items():
            self.ledger.enter(part.split, name, count)
        notes = Notes()
        store = build_store(self._encoder.encode(part.examples, notes))
        self._progress.advance(len(part.examples))
        for row, outcome, reason, _ in notes.outcomes:
            self.ledger.record(part.split, row, outcome, reason)
        self._take_broken(part.split, notes.bad_rows)
        self._problems.extend(_too_long_problems(notes.too_long, self._data.cutoff_len))
        if self.joins_texts:
            joined = JoinedTexts(store, self._data.cutoff_len)
            store = build_store(joined[index] for index in range(len(joined)))
        if part.examples and not len(store):
            self._empty_parts.append(part)
        return store

    def finish(self) -> None:
        """Refuse when anything is wrong or too many rows are lost."""
        self._progress.close()
        if self._problems:
            raise TunesmithError([*self._problems, *self.ledger.losses(self._data.max_row_loss)])
        self.ledger.check(self._data.max_row_loss)
        if self._empty_parts:
            raise TunesmithError([_nothing_left(part, self.ledger) for part in self._empty_parts])

    def _take_broken(self, split: Split, bad_rows: Sequence[BadRow]) -> None:
        if self._may_drop_broken:
            for bad in bad_rows:
                self.ledger.drop_broken(split, bad.source, bad.code, bad.message)
        else:
            self._problems.extend(group_bad_rows(bad_rows))


def _too_long_problems(rows: Sequence[tuple[RowRef, int]], limit: int) -> list[Problem]:
    files: dict[tuple[str, str], list[tuple[RowRef, int]]] = {}
    for source, length in rows:
        files.setdefault((source.dataset, source.file), []).append((source, length))
    return [
        Problem(
            code="data.row_too_long",
            message=f"{len(found)} rows of {dataset} are longer than cutoff_len {limit}; the longest has "
            f"{max(length for _, length in found)} tokens.",
            remedy="Raise cutoff_len, or choose another length_policy: truncate_prompt or drop.",
            where=Where.of_rows([source.row for source, _ in found], file=file, dataset=dataset),
        )
        for (dataset, file), found in files.items()
    ]


def _nothing_left(part: _Part, ledger: Ledger) -> Problem:
    return Problem(
        code="data.rows_none",
        message=f"No row is left for {part.split}: all {len(part.examples)} were dropped.\n{ledger.table()}",
        remedy="Raise cutoff_len or change length_policy; the lines above say why rows were dropped.",
        where=Where(dataset=part.examples[0].source.dataset, num_rows=len(part.examples)),
    )
