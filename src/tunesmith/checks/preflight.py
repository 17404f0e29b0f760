# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Asks every rule about a run, before a weight is loaded: what is refused, what is warned of, and what was seen."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tunesmith.checks.context import CheckContext, Parts
from tunesmith.checks.rule import Rule, rules
from tunesmith.config.run import RunConfig
from tunesmith.core.errors import Problem, TunesmithError

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


def check_parts(config: RunConfig, parts: Parts) -> PreflightReport:
    """Ask all rules about a run whose parts exist already; missing ones are loaded."""
    return check_context(CheckContext(config, parts))


def check_context(context: CheckContext, *, guards: Iterable[Guard] = ()) -> PreflightReport:
    """Ask all rules: first those that need no rows, because a wrong template would spoil every row."""
    every = [found for _, found in rules.items()]
    before_rows = [found for found in every if not needs_rows(found)]
    problems = [*_guarded(context.config, guards), *_apply(before_rows, context)]
    about_template = {found.code for found in before_rows if "template" in found.needs}
    context.is_worth_tokenising = about_template.isdisjoint(problem.code for problem in problems)
    problems += _apply((found for found in every if needs_rows(found)), context)
    found = dict.fromkeys([*context.problems, *problems])
    ordered = sorted(found, key=lambda problem: problem.severity != "refuse")
    return PreflightReport(problems=tuple(ordered), summary=summarise(context), parts=context.parts)


def needs_rows(found: Rule) -> bool:
    """Say whether a rule looks at rows."""
    return bool({"data", "schedule"} & set(found.needs))


def summarise(context: CheckContext) -> dict[str, Any]:
    """Count rows, tokens and steps, as far as the rows could be read."""
    if not context.has("data"):
        return {}
    train, ledger, schedule = context.train, context.data.ledger, context.schedule
    counts: dict[str, Any] = {"ledger": ledger.to_json()}
    if train is not None and len(train):
        counts |= {
            "rows": ledger.count("kept", "cut", "split", split="train"),
            "tokens": int(train.lengths.sum()),
            "supervised_tokens": int(train.num_supervised.sum()),
            "longest_row": int(train.lengths.max()),
        }
    if schedule is not None:
        counts |= {"steps_per_epoch": schedule.steps_per_epoch, "steps": schedule.total_steps}
    return counts


def _apply(chosen: Iterable[Rule], context: CheckContext) -> list[Problem]:
    return [problem for found in chosen for problem in found.apply(context)]


def _guarded(config: RunConfig, guards: Iterable[Guard]) -> list[Problem]:
    problems: list[Problem] = []
    for guard in guards:
        try:
            guard(config)
        except TunesmithError as error:
            problems.extend(error.problems)
    return problems
