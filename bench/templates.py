# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""How many two-turn rows a core renders, tokenises and masks in a second.

    python bench/templates.py [--tokenizers qwen3 llama3_1 …] [--rows 20000] [--rounds 3]

Rows are those of the Alpaca asset with their sentences in other orders; seconds are CPU seconds of the one process.
"""

import argparse
import os
import statistics
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from cells import Cell, run_cells
from preparation.rows import ASSETS, alpaca_rows

from tunesmith.core.types import Conversation, Message
from tunesmith.templates.base import TrainPolicy
from tunesmith.templates.chat import load_template
from tunesmith.templates.tokenizer import load_tokenizer

_BATCH = 256


def main() -> None:
    """Measure all cells that are not there yet and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizers", nargs="+", default=["qwen3", "llama3_1", "smollm2", "phi3_mini"])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget_minutes", type=float, default=60)
    chosen = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    cells = [Cell(name=name, measure=partial(_measure, name, chosen.rows, chosen.rounds)) for name in chosen.tokenizers]
    run_cells("templates", cells, budget_minutes=chosen.budget_minutes)


def _measure(name: str, rows: int, rounds: int) -> Mapping[str, Any]:
    folder = ASSETS / "tokenizers" / name
    template = load_template(load_tokenizer(folder), name=None, folder=folder)
    conversations = [_conversation(row) for row in alpaca_rows(rows)]
    rates = []
    for _ in range(rounds):
        start = time.process_time()
        tokens = 0
        for first in range(0, rows, _BATCH):
            for result in template.render_samples(conversations[first : first + _BATCH], policy=TrainPolicy()):
                assert isinstance(result, tuple), result
                tokens += sum(len(sample.input_ids) for sample in result)
        rates.append(rows / (time.process_time() - start))
    return {"rows_per_cpu_second": statistics.median(rates), "first_round": rates[0], "tokens_per_row": tokens / rows}


def _conversation(row: Mapping[str, str]) -> Conversation:
    prompt = "\n".join(part for part in (row["instruction"], row["input"]) if part)
    return Conversation(
        messages=(Message(role="user", content=prompt), Message(role="assistant", content=row["output"]))
    )


if __name__ == "__main__":
    main()
