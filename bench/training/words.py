# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The command line that the training benches share, and the places it names."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from training.launch import Places

from tunesmith.models.embedded import embedded_folder

HERE = Path(__file__).parents[1]


def bench_parser(description: str | None, name: str, settings: Sequence[str]) -> argparse.ArgumentParser:
    """Build the parser; a bench sets its own numbers of steps and minutes by `set_defaults`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", type=Path, default=HERE / "environments")
    parser.add_argument("--work", type=Path, default=HERE / "environments" / "work")
    parser.add_argument("--settings", nargs="+", default=settings, choices=settings)
    parser.add_argument("--systems", nargs="+", help="only these, by name with variant, e.g. trl-no_checkpointing")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--budget_minutes", type=float, default=60)
    parser.add_argument("--summary_only", action="store_true")
    trials = parser.add_argument_group("for trials of the bench itself")
    trials.add_argument("--name", default=name, help="folder and file of the results")
    trials.add_argument("--model", type=Path, help="a model folder in place of smollm2-135m")
    trials.add_argument("--eager", action="store_true", help="compile nothing")
    trials.add_argument("--keep_threading", action="store_true", help="pass OMP_… on; by default they are dropped")
    return parser


def places_of(chosen: argparse.Namespace) -> Places:
    """Give the places that a command line names."""
    return Places(
        environments=chosen.environments.absolute(),
        work=chosen.work.absolute(),
        model=chosen.model or embedded_folder("smollm2-135m"),
        keeps_threading=chosen.keep_threading,
        compiles=not chosen.eager,
    )
