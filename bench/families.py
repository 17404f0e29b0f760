# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Every causal model type of transformers through one contract (tests/contract/family_run.py). One cell a type.

    PYTHONPATH=src:. python bench/families.py [--types llama qwen3 …] [--budget_minutes 15] [--again]

scripts/family_table.py turns the results into what `tunesmith models` and docs/reference/models.md show.
"""

import argparse
from functools import partial

import torch
from cells import RESULTS, Cell, run_cells

from tests.contract.family_run import run_family
from tests.unit.models.attention.random_families import CAUSAL_TYPES

BENCH = "families"


def main() -> None:
    """Measure all types that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--types", nargs="+", default=list(CAUSAL_TYPES), choices=CAUSAL_TYPES, metavar="TYPE")
    parser.add_argument("--budget_minutes", type=float, default=15)
    parser.add_argument("--again", action="store_true", help="measure anew what failed before")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    cells = [Cell(name=name, measure=partial(run_family, name)) for name in chosen.types]
    if chosen.again:
        for cell in cells:
            file = RESULTS / BENCH / f"{cell.name}.json"
            if file.is_file() and '"ok": false' in file.read_text(encoding="utf-8"):
                file.unlink()
    run_cells(BENCH, cells, budget_minutes=chosen.budget_minutes)


if __name__ == "__main__":
    main()
