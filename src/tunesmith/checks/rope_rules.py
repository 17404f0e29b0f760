# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rules about positions: rows that are computed together must not change each other."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tunesmith.checks.context import CheckContext
from tunesmith.checks.places import counted, rows_by_file
from tunesmith.checks.rule import Finding, rule
from tunesmith.models.rope import LENGTH_DEPENDENT, full_parameters


@rule("check.positions_depend_on_batch", "refuse", needs=("training", "model", "data"))
def rows_keep_their_positions(context: CheckContext) -> Iterator[Finding]:
    """Find long rows of a model whose frequencies depend on the longest row of a batch, or on rows before."""
    parameters = full_parameters(context.model_config)
    method, limit = str(parameters.get("rope_type")), _own_positions(context, parameters)
    if method not in LENGTH_DEPENDENT or limit is None or (method == "longrope" and _is_row_by_row(context)):
        return
    alone = "" if method == "dynamic" else " Or compute every row alone: batch sizes of 1, without packing."
    for name, store in context.stores():
        long = np.flatnonzero(store.lengths > limit)
        for where in rows_by_file(store, long):
            yield Finding(
                message=f"The {method} positions of this model depend on the longest row of a batch beyond {limit} "
                f"tokens, so {counted(where, 'row')} of {name} would change what others give.",
                remedy=f"Write cutoff_len: {limit}, or another rope_scaling (a whole mapping) for this model.{alone}",
                where=where,
            )


def _own_positions(context: CheckContext, parameters: Mapping[str, Any]) -> int | None:
    text: Any = context.model_config.get_text_config()
    found = parameters.get("original_max_position_embeddings") or getattr(text, "max_position_embeddings", None)
    return found if isinstance(found, int) else None


def _is_row_by_row(context: CheckContext) -> bool:
    training = context.config.training
    sizes = {training.per_device_train_batch_size, training.per_device_eval_batch_size}
    return sizes == {1} and not context.is_packing and training.tokens_per_batch is None
