# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Clusters of near-duplicates, kept beside the shards they were found in, so that a second start only reads them.

The file is named by what it was made from, and goes when the oldest shards go.
"""

import hashlib
import io
import json
from pathlib import Path

import numpy as np

from tunesmith.core.files import write_bytes_atomic
from tunesmith.data.grams import Numbers
from tunesmith.data.near_duplicates import near_duplicate_clusters, row_signatures
from tunesmith.data.preparation.keys import code_fingerprint
from tunesmith.data.source_numbers import source_numbers
from tunesmith.data.store import TokenRows

# Fewer rows are compared again sooner than a file is read.
_MIN_ROWS = 2000


def kept_clusters(rows: TokenRows, threshold: float, *, folder: Path | None) -> Numbers:
    """Give each row the first row of its cluster, from a folder of shards where it was found before."""
    sets = source_numbers(rows).sets
    if folder is None or len(rows) < _MIN_ROWS:
        return near_duplicate_clusters(row_signatures(rows, sets), threshold)
    made_from = [code_fingerprint(), rows.fingerprint, hashlib.sha256(sets.tobytes()).hexdigest(), threshold]
    key = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()
    path = folder / key[:2] / f"{key}.npy"
    clusters = _read(path, len(rows))
    if clusters is None:
        clusters = near_duplicate_clusters(row_signatures(rows, sets), threshold)
        content = io.BytesIO()
        np.save(content, clusters.astype(np.int32), allow_pickle=False)
        write_bytes_atomic(path, content.getvalue())
    return clusters


def _read(path: Path, num_rows: int) -> Numbers | None:
    """Read a kept file; one that is damaged is made again."""
    try:
        found = np.load(path, allow_pickle=False)
        path.touch()
    except (OSError, ValueError):
        return None
    return found.astype(np.int64) if found.shape == (num_rows,) and found.dtype == np.int32 else None
