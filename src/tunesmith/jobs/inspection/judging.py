# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The rows of a run and what the preflight's rules say of them, without weights; broken rows do not hide the others."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tunesmith.checks.context import CheckContext, Parts
from tunesmith.checks.judgement import Judgement
from tunesmith.checks.preflight import Phase, phase_of
from tunesmith.checks.rule import Rule, rules
from tunesmith.config.resolve import KeyOrigin
from tunesmith.config.run import RunConfig
from tunesmith.core.errors import Problem, TunesmithError
from tunesmith.jobs.inspection.records import readings_of
from tunesmith.models.folder import check_folder
from tunesmith.models.load import resolve_model
from tunesmith.models.variants import with_changes
from tunesmith.templates.tokenizer import load_tokenizer

# What rules about rows may need: no model, no optimizer steps.
_ROW_NEEDS = frozenset({"training", "tokenizer", "template", "probe", "data", "targets"})
# About when rows are evaluated, not about the rows.
_ABOUT_SCHEDULE = frozenset({"check.evaluation_rows_unused"})


@dataclass(frozen=True, kw_only=True)
class Raised:
    """A problem, and what a rule of judgement counted and quoted."""

    problem: Problem
    judgement: Judgement | None = None


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A run's parts as far as they could be had, and every problem of its rows and template, refusals first."""

    context: CheckContext
    raised: tuple[Raised, ...]

    @property
    def has_rows(self) -> bool:
        """Say whether rows were tokenised."""
        return self.context.has("data")

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Give the problems alone."""
        return tuple(one.problem for one in self.raised)


def judge_rows(config: RunConfig) -> Judged:
    """Prepare and judge the rows as a run would; where it would be refused, prepare what can be and judge that too."""
    folder = _find_folder(config)
    parts = Parts(folder=folder, tokenizer=load_tokenizer(folder))
    strict = CheckContext(config, parts)
    allowed = _ROW_NEEDS | ({"model"} if _is_model(folder) else set())
    asked = [one for code, one in rules.items() if code not in _ABOUT_SCHEDULE and _is_about_rows(one, allowed)]
    raised = _ask(strict, asked)
    if strict.has("data") or not strict.is_template_sound:
        return _judged(strict, strict.problems, raised)
    if not all(readings_of(config, strict.row_kind).values()):  # Of a set that cannot be read there is nothing to show.
        return _judged(strict, strict.problems, raised)
    lenient = CheckContext(lenient_config(config), strict.parts)
    if not lenient.has("data"):
        return _judged(strict, strict.problems, raised)
    context = CheckContext(config, lenient.parts)  # The rules see the user's own limits.
    return _judged(context, strict.problems, _ask(context, asked))


def lenient_config(config: RunConfig) -> RunConfig:
    """Let broken and long rows be dropped, so that the others can be shown; the strict run has named them."""
    leave: dict[str, Any] = {"max_row_loss": 1.0}
    if config.data.length_policy == "refuse":
        leave["length_policy"] = "drop"
    resolved = config.resolved
    origins = {**resolved.origins, **{key: KeyOrigin() for key in leave}}
    return RunConfig.of(replace(resolved, values={**resolved.values, **leave}, origins=origins))


def _find_folder(config: RunConfig) -> Path:
    model = config.model
    assert model.model_name_or_path is not None, "checked with the configuration"
    cache = Path(model.cache_dir) if model.cache_dir is not None else None
    return with_changes(config, resolve_model(model.model_name_or_path, cache, revision=model.model_revision))


def _is_model(folder: Path) -> bool:
    """Say whether a folder holds a model, not only its tokenizer."""
    try:
        check_folder(folder)
    except TunesmithError:
        return False
    return True


def _is_about_rows(one: Rule, allowed: Set[str]) -> bool:
    needs = set(one.needs)
    return bool(needs & {"template", "probe", "data"}) and needs <= allowed


def _ask(context: CheckContext, asked: Sequence[Rule]) -> list[Raised]:
    """Ask rules in phases: a wrong template would spoil every row."""
    raised: list[Raised] = []
    for phase in Phase:
        found = [one for rule in asked if phase_of(rule) is phase for one in _apply(rule, context)]
        raised += found
        if phase is not Phase.ROWS and found:
            context.is_template_sound = False
    return raised


def _apply(rule: Rule, context: CheckContext) -> list[Raised]:
    if not all(context.has(need) for need in rule.needs):
        return []
    return [
        Raised(
            problem=Problem(
                code=rule.code,
                message=finding.message,
                remedy=finding.remedy,
                where=finding.where,
                severity=rule.severity,
            ),
            judgement=finding if isinstance(finding, Judgement) else None,
        )
        for finding in rule.find(context)
    ]


def _judged(context: CheckContext, loading: Sequence[Problem], raised: Sequence[Raised]) -> Judged:
    every = dict.fromkeys([*(Raised(problem=problem) for problem in loading), *raised])
    return Judged(context=context, raised=tuple(sorted(every, key=lambda one: one.problem.severity != "refuse")))
