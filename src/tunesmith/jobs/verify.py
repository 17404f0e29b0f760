# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""`tunesmith verify template`: training, serving and transformers make the same tokens of a corpus, or it is told."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tunesmith.config.run import RunConfig
from tunesmith.core.errors import Problem, TunesmithError, Where
from tunesmith.models.load import resolve_model
from tunesmith.templates.jinja_template import JinjaTemplate
from tunesmith.templates.run_template import load_run_template, policy_of
from tunesmith.templates.tokenizer import load_tokenizer
from tunesmith.templates.verification import CaseOutcome, verify_template


def run(config: RunConfig) -> dict[str, Any]:
    """Render the corpus by all paths, and give the table of turns; any difference is a refusal."""
    assert config.model.model_name_or_path is not None, "configuration rules ask for a model"
    cache = Path(config.model.cache_dir) if config.model.cache_dir else None
    folder = resolve_model(config.model.model_name_or_path, cache, revision=config.model.model_revision)
    tokenizer = load_tokenizer(folder)
    folders = [folder, *(Path(adapter) for adapter in config.model.adapter_name_or_path)]
    template = load_run_template(config, tokenizer, folders)
    assert isinstance(template, JinjaTemplate), "there is one kind of template"
    outcomes = verify_template(template, tokenizer, policy=policy_of(config))
    result = {
        "template": template.name,
        "origin": template.origin,
        "stop_tokens": [template.decode([stop]) for stop in template.stop_ids()],
        "cases": [asdict(outcome) for outcome in outcomes],
        "text": "\n".join(table_of(outcomes)),
    }
    problems = [_problem(template, outcome) for outcome in outcomes if outcome.differences or outcome.openings]
    if problems:
        raise TunesmithError(problems, result=result)
    return result


def table_of(outcomes: Sequence[CaseOutcome]) -> list[str]:
    """Write one line a turn, and the refusals, notes and differences of each conversation."""
    lines = [f"{'conversation':22} {'turn':>4} {'tokens':>6} {'trained':>7}  stop trained  header not trained"]
    for outcome in outcomes:
        for turn in outcome.turns:
            stop, header = ("yes" if good else "NO" for good in (turn.is_stop_trained, not turn.is_header_trained))
            lines.append(
                f"{outcome.name:22} {turn.message:>4} {turn.tokens:>6} {turn.trained:>7}  {stop:12}  {header}"
            )
        lines += [f"{outcome.name:22} refused: {outcome.refused}"] if outcome.refused else []
        lines += [f"{'':22} note: {note}" for note in outcome.notes]
        lines += [f"{'':22} DIFFERS: {difference}" for difference in (*outcome.differences, *outcome.openings)]
    return lines


def _problem(template: JinjaTemplate, outcome: CaseOutcome) -> Problem:
    return Problem(
        code="template.rendering_differs",
        message=f"With the template {template.name!r}, conversation {outcome.name!r}: "
        + "; ".join((*outcome.differences, *outcome.openings))
        + ".",
        remedy="Choose another template with `template:`, or leave it out to use the model's own.",
        where=Where(key="template"),
    )
