# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Assert what the quickstart promises: that the model learned the task, that the merge is true, and the time."""

import json
import sys
from pathlib import Path

MAX_SECONDS = 720


def failures(report: dict[str, float], seconds: float) -> list[str]:
    """List the promises that this report breaks."""
    promises = {
        "rows is 100": report["rows"] == 100,
        "exact_match_before is below 0.05": report["exact_match_before"] < 0.05,
        "exact_match_after is at least 0.90": report["exact_match_after"] >= 0.90,
        "merge_max_abs_diff is at most 1e-4": report["merge_max_abs_diff"] <= 1e-4,
        "merge_top1_agreement is at least 0.999": report["merge_top1_agreement"] >= 0.999,
        "train_seconds is positive": report["train_seconds"] > 0,
        f"the whole takes less than {MAX_SECONDS} s": seconds < MAX_SECONDS,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


def main(path: str, seconds: str) -> int:
    """Print the report and the broken promises."""
    report = json.loads(Path(path).read_text(encoding="utf-8"))
    print(json.dumps(report, indent=2), f"quickstart took {seconds} s", sep="\n")
    broken = failures(report, float(seconds))
    for promise in broken:
        print(f"quickstart: not true: {promise}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
