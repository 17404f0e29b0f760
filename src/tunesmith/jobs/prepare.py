# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The job of `tunesmith prepare`: tokenises the data of a run, so that its training starts at once; nothing is trained.

Run again after an interruption it goes on where it was; what was prepared before is only counted.
"""

from collections.abc import Mapping
from typing import Any

from tunesmith.checks.context import CheckContext
from tunesmith.config.run import RunConfig
from tunesmith.core.errors import TunesmithError, refusal
from tunesmith.core.progress import format_seconds, say
from tunesmith.data.pipeline import PreparedData
from tunesmith.data.store import TokenRows


def run(config: RunConfig) -> dict[str, Any]:
    """Prepare all data sets, show what became of the rows, and give it as numbers."""
    if config.data.streaming:
        raise refusal(
            "config.keys_conflict",
            "With streaming, rows are tokenised while training reads them; nothing can be prepared before.",
            "Leave streaming out to prepare the data.",
            key="streaming",
        )
    context = CheckContext(config)
    if not context.has("data"):
        raise TunesmithError(context.problems)
    data = context.data
    say(data.ledger.table())
    result = to_result(data)
    say(_closing_line(result))
    return result


def to_result(data: PreparedData) -> dict[str, Any]:
    """Count rows, tokens and shards."""
    assert data.made is not None
    made, ledger = data.made, data.ledger.to_json()
    parts = {
        **({"train": data.train} if data.train is not None else {}),
        **{f"eval {n}": r for n, r in data.evals.items()},
    }
    counted = {name: _count(rows) for name, rows in parts.items()}
    return {
        "rows_in": ledger["rows_in"],
        "rows_kept": ledger["rows_kept"],
        "tokens": sum(part["tokens"] for part in counted.values()),
        "supervised_tokens": sum(part["supervised_tokens"] for part in counted.values()),
        "parts": counted,
        "shards_made": made.num_made,
        "shards_reused": made.num_reused,
        "rows_encoded": made.num_rows,
        "seconds": round(made.seconds, 3),
        "rows_per_second": round(made.num_rows / made.seconds, 1) if made.num_rows else 0.0,
        "workers": made.num_workers,
        "folder": str(data.folder),
        "ledger": ledger,
    }


def _count(rows: TokenRows) -> dict[str, Any]:
    return {
        "rows": len(rows),
        "tokens": int(rows.lengths.sum()),
        "supervised_tokens": int(rows.num_supervised.sum()),
        "longest_row": int(rows.lengths.max(initial=0)),
        "fingerprint": rows.fingerprint,
    }


def _closing_line(result: Mapping[str, Any]) -> str:
    done = (
        f"{result['rows_encoded']:,} rows tokenised in {format_seconds(result['seconds'])} "
        f"({result['rows_per_second']:,.0f} rows/s)"
        if result["rows_encoded"]
        else "Everything was prepared before"
    )
    return (
        f"{done}: {result['tokens']:,} tokens, {result['supervised_tokens']:,} of them trained; "
        f"{result['shards_made']} shards made, {result['shards_reused']} found, in {result['folder']}."
    )
