# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rules over all tokenised rows: what is supervised, how answers end, and which rows occur twice.

Rows that cannot be read, have no trained token or lose their answer are refused by `data/`, with its own codes.
"""

from collections.abc import Iterator

import numpy as np

from tunesmith.checks.answers import find_answers
from tunesmith.checks.context import CheckContext, num_used
from tunesmith.checks.digests import row_digests, text_digests
from tunesmith.checks.places import counted, places_of, rows_by_file
from tunesmith.checks.rule import Finding, rule
from tunesmith.checks.thresholds import thresholds
from tunesmith.core.types import RowRef
from tunesmith.data.store import TokenStore

# White space that stands for an answer is a few tokens; longer answers are not looked into.
_MAX_BLANK_TOKENS = 8


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
                message=f"Empty answers in {counted(where, 'row')} of {name}: they train the model to say nothing.",
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
                message=f"In {counted(where, 'row')} of {name} the last trained token is no stop token.",
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
                message=f"Tokens beyond the model's vocabulary of {size} in {counted(where, 'row')} of {name}: the "
                "tokenizer in the model folder belongs to another model.",
                remedy="Restore the tokenizer files from the model's source.",
                where=where,
            )


@rule("check.rows_duplicate", "warn", needs=("training", "data"))
def rows_are_distinct(context: CheckContext) -> Iterator[Finding]:
    """Find training rows that repeat another one; rows repeated on purpose by num_samples do not count."""
    if context.train is None:
        return
    groups, limits = _distinct_rows(context, context.train), thresholds()
    count = num_used(context.data.ledger, "train")
    repeated = [source for sources in groups.values() for source in sources[1:]]
    if not repeated or len(repeated) < limits["min_duplicate_share"] * count:
        return
    for where in places_of(repeated):
        yield Finding(
            message=f"Of {count} training rows {where.num_rows} repeat an earlier one and weigh double.",
            remedy="Remove the repeated rows, unless the weight is meant.",
            where=where,
        )


def _distinct_rows(context: CheckContext, train: TokenStore) -> dict[bytes, list[RowRef]]:
    if context.row_kind == "text":
        return text_digests(context.config, "train", min_characters=thresholds()["min_duplicate_characters"])
    return row_digests(train)


def _rows_with_empty_answers(context: CheckContext, store: TokenStore) -> list[int]:
    if context.config.template.train_on_prompt:  # Then prompt and answer are one run of trained tokens.
        return []
    answers = find_answers(store)
    spans = zip(answers.starts.tolist(), answers.ends.tolist(), strict=True)
    tokens = store.arrays["input_ids"]
    longest = max(len(context.empty_answer), _MAX_BLANK_TOKENS)
    is_empty: dict[tuple[int, ...], bool] = {}
    rows: set[int] = set()
    for number, (start, end) in enumerate(spans):
        if end - start > longest:
            continue
        ids = tuple(tokens[start:end].tolist())
        if ids not in is_empty:
            is_empty[ids] = _is_empty(ids, context)
        if is_empty[ids]:
            rows.add(int(answers.rows[number]))
    return sorted(rows)


def _is_empty(ids: tuple[int, ...], context: CheckContext) -> bool:
    """Say whether an answer is what the template makes of no content, or nothing but white space and a stop token."""
    if ids == context.empty_answer:
        return True
    stops = context.template.stop_ids()
    return not str(context.tokenizer.decode([token for token in ids if token not in stops])).strip()
