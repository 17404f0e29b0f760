# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Asks every rule about a run, before a weight is loaded: what is refused, what is warned of, and what was seen."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any

import numpy as np

from tunesmith.checks.answers import iterate_answers
from tunesmith.checks.context import CheckContext, Parts, num_used
from tunesmith.checks.rule import Rule, rules
from tunesmith.config.run import RunConfig
from tunesmith.core.errors import Problem, TunesmithError
from tunesmith.data.store import TokenRows
from tunesmith.models.coverage import coverage
from tunesmith.templates.run_template import policy_of
from tunesmith.templates.weights import trains_all

# A further look at the configuration that raises TunesmithError, for what only a job can judge (its output folder).
Guard = Callable[[RunConfig], object]


@dataclass(frozen=True, kw_only=True)
class PreflightReport:
    """Everything the rules found, refusals first, what was counted, and the parts that were loaded on the way."""

    problems: tuple[Problem, ...]
    summary: dict[str, Any] = field(default_factory=dict)
    parts: Parts = field(default_factory=Parts)

    @property
    def refusals(self) -> tuple[Problem, ...]:
        """Problems that stop the run."""
        return tuple(problem for problem in self.problems if problem.severity == "refuse")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Problems that do not stop the run."""
        return tuple(problem for problem in self.problems if problem.severity == "warn")

    def raise_if_refused(self) -> None:
        """Raise all refusals as one error."""
        if self.refusals:
            raise TunesmithError(self.refusals)

    def to_json(self) -> dict[str, Any]:
        """Give what was counted and how the rules judged."""
        return {**self.summary, "refusals": len(self.refusals), "warnings": len(self.warnings)}


def run_preflight(config: RunConfig, *, guards: Iterable[Guard] = ()) -> PreflightReport:
    """Load what the rules need, without weights, and ask them all."""
    return check_context(CheckContext(config), guards=guards)


def check_context(context: CheckContext, *, guards: Iterable[Guard] = ()) -> PreflightReport:
    """Ask all rules in phases, because a wrong template would spoil every row."""
    every = [found for _, found in rules.items()]
    problems = _guarded(context.config, guards)
    for phase in Phase:
        asked = [found for found in every if phase_of(found) is phase]
        problems += [problem for found in asked for problem in found.apply(context)]
        about_template = {found.code for found in asked if {"template", "probe"} & set(found.needs)}
        if not about_template.isdisjoint(problem.code for problem in problems):
            context.is_template_sound = False
    summary = summarise(context)
    found = dict.fromkeys(_placed(problem, context.config) for problem in [*context.problems, *problems])
    ordered = sorted(found, key=lambda problem: problem.severity != "refuse")
    return PreflightReport(problems=tuple(ordered), summary=summary, parts=context.parts)


def _placed(problem: Problem, config: RunConfig) -> Problem:
    """Add the line on which the user set the key that a problem names, where no other place is named."""
    where = problem.where
    origin = config.origin(where.key) if where.key is not None else None
    if origin is None or where.file is not None:
        return problem
    return replace(problem, where=replace(where, file=origin.file, line=origin.line))


class Phase(Enum):
    """When a rule is asked: about settings and model, about the rendered probe, or about all rows."""

    SETTINGS = auto()
    PROBE = auto()
    ROWS = auto()


def phase_of(found: Rule) -> Phase:
    """Tell the phase of a rule from its needs."""
    needs = set(found.needs)
    if needs & {"data", "schedule", "steps"}:
        return Phase.ROWS
    return Phase.PROBE if "probe" in needs else Phase.SETTINGS


def summarise(context: CheckContext) -> dict[str, Any]:
    """Count weights, rows, tokens and steps, as far as model and rows could be read."""
    weights = {"parameters": dict(coverage(context.skeleton).totals)} if context.has("skeleton") else {}
    return {**weights, **(_count_rows(context) if context.has("data") else {})}


def _count_rows(context: CheckContext) -> dict[str, Any]:
    train, ledger, schedule = context.train, context.data.ledger, context.schedule
    counts: dict[str, Any] = {"ledger": ledger.to_json()}
    if train is not None and len(train):
        counts |= {
            "rows": num_used(ledger, "train"),
            "tokens": int(train.lengths.sum()),
            "supervised_tokens": int(train.num_supervised.sum()),
            "longest_row": int(train.lengths.max()),
        }
        if context.row_kind == "supervised" and not trains_all(policy_of(context.config)):
            counts |= _count_answers(train, context.template.stop_ids())
    if schedule is not None:
        counts |= {"steps_per_epoch": schedule.steps_per_epoch, "steps": schedule.total_steps}
    return counts


def _count_answers(train: TokenRows, stop_ids: tuple[int, ...]) -> dict[str, int]:
    answers = with_stop = 0
    for found in iterate_answers(train):
        answers += len(found)
        with_stop += int(np.isin(found.last_tokens, stop_ids).sum())
    return {"answers": answers, "answers_with_stop": with_stop}


def _guarded(config: RunConfig, guards: Iterable[Guard]) -> list[Problem]:
    problems: list[Problem] = []
    for guard in guards:
        try:
            guard(config)
        except TunesmithError as error:
            problems.extend(error.problems)
    return problems
