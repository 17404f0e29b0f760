# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Small token stores, written as token ids with the trained ones in brackets, and contexts around them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith.checks.context import CheckContext, Parts
from tunesmith.config.load import load_config
from tunesmith.core.types import RowRef, TokenRow
from tunesmith.data.ledger import Ledger
from tunesmith.data.pipeline import PreparedData
from tunesmith.data.store import TokenStore, build_store

KEYS: dict[str, Any] = {
    "model_name_or_path": "model",
    "dataset": "rows.jsonl",
    "output_dir": "out",
    "finetuning_type": "full",
    "learning_rate": 1e-5,
}


def store_of(rows: Sequence[str], records: Sequence[int] | None = None) -> TokenStore:
    """Read rows such as `5 6 [7 2]` into a store; row numbers are positions, unless records are named."""
    numbers = range(len(rows)) if records is None else records
    return build_store(_row(text, number) for number, text in zip(numbers, rows, strict=True))


def _row(text: str, number: int) -> TokenRow:
    ids: list[int] = []
    weights: list[float] = []
    is_trained = False
    for word in text.replace("[", " [ ").replace("]", " ] ").split():
        if word in "[]":
            is_trained = word == "["
        else:
            ids.append(int(word))
            weights.append(float(is_trained))
    return TokenRow(
        source=RowRef(dataset="rows", file="rows.jsonl", row=number),
        input_ids=np.array(ids, dtype=np.int32),
        weights=np.array(weights, dtype=np.float32),
        segment_lengths=(len(ids),),
    )


def context_of(rows: Sequence[str], *, records: Sequence[int] | None = None, **keys: Any) -> CheckContext:
    """Build the context of a run over finished rows; its model folder does not exist."""
    store = store_of(rows, records)
    ledger = Ledger()
    ledger.enter("train", "rows", len(rows))
    for index in range(len(rows)):
        ledger.record("train", store[index].source, "kept")
    config = load_config({**KEYS, **keys}, command="check")
    data = PreparedData(train=store, evals={}, ledger=ledger)
    return CheckContext(config, Parts(folder=Path("model"), data=data))
