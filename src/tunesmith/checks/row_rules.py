# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rules over all tokenised rows: what is supervised and how answers end.

Rows that cannot be read, have no trained token or lose their answer are refused by `data/`, with its own codes.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tunesmith.checks.answers import iterate_answers, last_trained_tokens
from tunesmith.checks.context import CheckContext
from tunesmith.checks.places import counted, rows_by_file
from tunesmith.checks.rule import Finding, rule
from tunesmith.checks.thresholds import thresholds
from tunesmith.data.source_numbers import source_numbers
from tunesmith.data.store import TokenRows, pieces_of
from tunesmith.templates.run_template import policy_of
from tunesmith.templates.weights import trains_all

# White space that stands for an answer is a few tokens; longer answers are not looked into.
_MAX_BLANK_TOKENS = 8


@rule("check.supervised_little", "refuse", needs=("training", "targets", "data"))
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


@rule("check.answer_empty", "refuse", needs=("training", "targets", "probe", "data"))
def answers_say_something(context: CheckContext) -> Iterator[Finding]:
    """Find answers of nothing but a stop token, beyond the share of rows that may be lost."""
    allowed = context.config.data.max_row_loss
    for name, store in context.stores():
        empty = _rows_with_empty_answers(context, store)
        if empty and context.config.data.length_policy == "split":
            # The end of an answer that fills the row before may be a stop token alone.
            is_continued = _is_continued(store)
            empty = [row for row in empty if row == 0 or not is_continued[row - 1]]
        if len(empty) <= allowed * len(store):
            continue
        for where in rows_by_file(store, empty):
            yield Finding(
                message=f"Empty answers in {counted(where, 'row')} of {name}: they train the model to say nothing.",
                remedy="Fill in the answers or remove the rows; max_row_loss is the share of rows that may be so.",
                where=where,
            )


@rule("check.stop_token_untrained", "refuse", needs=("training", "targets", "probe", "data"))
def every_answer_ends_with_a_stop_token(context: CheckContext) -> Iterator[Finding]:
    """Find rows whose last trained token is no stop token, so that the model does not learn to stop there.

    An answer that `length_policy: split` continues in the next row ends there; one that `ratio` has cut, at the limit,
    is the user's choice, and the ledger's to tell.
    """
    data = context.config.data
    if trains_all(policy_of(context.config)):
        return
    for name, store in context.stores():
        is_endless = ~np.isin(last_trained_tokens(store), context.template.stop_ids())
        if np.any(is_endless) and data.length_policy == "split":
            is_endless[:-1] &= ~_is_continued(store)
        if data.length_policy == "ratio":
            is_endless &= store.lengths < data.cutoff_len
        endless = np.flatnonzero(is_endless)
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
        for where in rows_by_file(store, _rows_with_tokens_from(size, store)):
            yield Finding(
                message=f"Tokens beyond the model's vocabulary of {size} in {counted(where, 'row')} of {name}: the "
                "tokenizer in the model folder belongs to another model.",
                remedy="Restore the tokenizer files from the model's source.",
                where=where,
            )


def _is_continued(store: TokenRows) -> npt.NDArray[np.bool_]:
    """Say of each row but the last whether the next one is of the same record."""
    sources = source_numbers(store)
    is_continued: npt.NDArray[np.bool_] = (np.diff(sources.records) == 0) & (np.diff(sources.files) == 0)
    return is_continued


def _rows_with_tokens_from(size: int, store: TokenRows) -> list[int]:
    rows: list[int] = []
    for piece in pieces_of(store):
        beyond = np.flatnonzero(piece.input_ids >= size)
        rows.extend(piece.rows[np.unique(np.searchsorted(piece.offsets, beyond, side="right") - 1)].tolist())
    return sorted(rows)


def _rows_with_empty_answers(context: CheckContext, store: TokenRows) -> list[int]:
    if trains_all(policy_of(context.config)):  # Then prompt and answer are one run of trained tokens.
        return []
    longest = max(len(context.empty_answer), _MAX_BLANK_TOKENS)
    is_empty: dict[tuple[int, ...], bool] = {}
    rows: set[int] = set()
    for answers in iterate_answers(store):
        for number in np.flatnonzero(answers.ends - answers.starts <= longest).tolist():
            ids = answers.token_ids(number)
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
