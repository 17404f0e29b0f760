# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rules over all tokenised rows: what is supervised, how answers end, and which rows occur twice.

Rows that cannot be read, have no trained token or lose their answer are refused by `data/`, with its own codes.
"""

from collections.abc import Iterator

import numpy as np

from tunesmith.checks.answers import Answers, find_answers
from tunesmith.checks.context import CheckContext
from tunesmith.checks.digests import row_digests, text_digests
from tunesmith.checks.places import places_of, rows_by_file
from tunesmith.checks.rule import Finding, rule
from tunesmith.checks.thresholds import thresholds
from tunesmith.core.types import IntArray
from tunesmith.data.store import TokenStore


@rule("check.supervised_little", "refuse", needs=("training", "data"))
def enough_is_supervised(context: CheckContext) -> Iterator[Finding]:
    """Find training rows of which almost nothing is trained."""
    if context.train is None or not len(context.train):
        return
    tokens, supervised = int(context.train.lengths.sum()), int(context.train.num_supervised.sum())
    if supervised < thresholds()["min_supervised_share"] * tokens:
        yield Finding(
            message=f"Only {supervised} of {tokens} tokens would be trained ({supervised / tokens:.4%}).",
            remedy="Check that the answers stand in the column that is read as the answer, and that loss_weight and "
            "mask_history are meant.",
            where=context.at("dataset"),
        )


@rule("check.answer_empty", "refuse", needs=("training", "probe", "data"))
def answers_say_something(context: CheckContext) -> Iterator[Finding]:
    """Find answers of nothing but a stop token, beyond the share of rows that may be lost."""
    allowed = context.config.data.max_row_loss
    for name, store in context.stores():
        empty = _rows_with_empty_answers(context, store)
        if len(empty) <= allowed * len(store):
            continue
        for where in rows_by_file(store, empty):
            yield Finding(
                message=f"{where.num_rows} rows of {name} have an empty answer: they train the model to say nothing.",
                remedy="Fill in the answers or remove the rows; max_row_loss is the share of rows that may be so.",
                where=where,
            )


@rule("check.stop_token_untrained", "refuse", needs=("training", "probe", "data"))
def every_answer_ends_with_a_stop_token(context: CheckContext) -> Iterator[Finding]:
    """Find rows whose last trained token is no stop token, so that the model does not learn to stop there."""
    if context.config.template.train_on_prompt:
        return
    for name, store in context.stores():
        endless = np.flatnonzero(~np.isin(find_answers(store).last_tokens, context.template.stop_ids()))
        for where in rows_by_file(store, endless):
            yield Finding(
                message=f"In {where.num_rows} rows of {name} the last trained token is no stop token.",
                remedy="Choose another template with `template:`, or remove these rows.",
                where=where,
            )


@rule("check.token_unknown", "refuse", needs=("training", "model", "data"))
def tokens_are_in_the_vocabulary(context: CheckContext) -> Iterator[Finding]:
    """Find tokens that the model has no embedding for: the tokenizer is another model's."""
    size = context.model_config.get_text_config().vocab_size
    for name, store in context.stores():
        beyond = np.flatnonzero(store.arrays["input_ids"] >= size)
        rows = np.unique(np.searchsorted(store.arrays["token_offsets"], beyond, side="right") - 1)
        for where in rows_by_file(store, rows):
            yield Finding(
                message=f"{where.num_rows} rows of {name} hold tokens beyond the model's vocabulary of {size}: the "
                "tokenizer in the model folder belongs to another model.",
                remedy="Restore the tokenizer files from the model's source.",
                where=where,
            )


@rule("check.rows_duplicate", "warn", needs=("training", "data"))
def rows_are_distinct(context: CheckContext) -> Iterator[Finding]:
    """Find training rows that repeat another one; rows repeated on purpose by num_samples do not count."""
    if context.train is None:
        return
    is_text = context.row_kind == "text"
    groups = text_digests(context.config, "train") if is_text else row_digests(context.train)
    count = sum(map(len, groups.values()))
    repeated = [source for sources in groups.values() for source in sources[1:]]
    if not repeated or len(repeated) < thresholds()["min_duplicate_share"] * count:
        return
    for where in places_of(repeated):
        yield Finding(
            message=f"{where.num_rows} of {count} training rows repeat an earlier row: they weigh double.",
            remedy="Remove the repeated rows, unless the weight is meant.",
            where=where,
        )


def _rows_with_empty_answers(context: CheckContext, store: TokenStore) -> list[int]:
    if context.config.template.train_on_prompt:  # Then prompt and answer are one run of trained tokens.
        return []
    answers = find_answers(store)
    return sorted({row for ids in context.empty_answers for row in _rows_with(ids, answers, store)})


def _rows_with(ids: IntArray, answers: Answers, store: TokenStore) -> list[int]:
    """Rows in which some answer consists of exactly these tokens."""
    tokens = store.arrays["input_ids"]
    candidates = np.flatnonzero(answers.ends - answers.starts == len(ids))
    spans = [slice(answers.starts[index], answers.ends[index]) for index in candidates]
    return [
        int(answers.rows[index]) for index, span in zip(candidates, spans, strict=True) if (tokens[span] == ids).all()
    ]
