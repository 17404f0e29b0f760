# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""`tunesmith verify template`: training, serving and transformers make the same tokens of a corpus, or it is told."""

import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tunesmith.config.run import RunConfig
from tunesmith.core.errors import Problem, TunesmithError, Where
from tunesmith.models.load import resolve_model
from tunesmith.models.variants import with_changes
from tunesmith.templates.jinja_template import JinjaTemplate
from tunesmith.templates.run_template import load_run_template, policy_of
from tunesmith.templates.tokenizer import load_tokenizer
from tunesmith.templates.verification import CaseOutcome, verify_template

_NAMES = 22  # Columns of the names of conversations.
_WIDTH = 80


def run(config: RunConfig) -> dict[str, Any]:
    """Render the corpus by all paths, and give the table of turns; any difference is a refusal."""
    assert config.model.model_name_or_path is not None, "configuration rules ask for a model"
    cache = Path(config.model.cache_dir) if config.model.cache_dir else None
    folder = resolve_model(config.model.model_name_or_path, cache, revision=config.model.model_revision)
    folder = with_changes(config, folder)
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
    lines = [f"{'conversation':{_NAMES}} {'turn':>4} {'tokens':>6} {'trained':>7}  stop trained  header not trained"]
    for outcome in outcomes:
        for turn in outcome.turns:
            stop, header = ("yes" if good else "NO" for good in (turn.is_stop_trained, not turn.is_header_trained))
            lines.append(
                f"{outcome.name:{_NAMES}} {turn.message:>4} {turn.tokens:>6} {turn.trained:>7}  {stop:12}  {header}"
            )
        lines += _remark(outcome.name, f"refused: {outcome.refused}") if outcome.refused else []
        remarks = [f"note: {note}" for note in outcome.notes]
        remarks += [f"DIFFERS: {difference}" for difference in (*outcome.differences, *outcome.openings)]
        lines += [line for remark in remarks for line in _remark("", remark)]
    return lines


def _remark(name: str, text: str) -> list[str]:
    """Write a remark behind the names of conversations, in lines that a terminal of 80 columns shows whole."""
    return textwrap.wrap(
        " ".join(text.split()), _WIDTH, initial_indent=f"{name:{_NAMES}}  ", subsequent_indent=" " * (_NAMES + 4)
    )


def _problem(template: JinjaTemplate, outcome: CaseOutcome) -> Problem:
    return Problem(
        code="template.rendering_differs",
        message=f"With the template {template.name!r}, conversation {outcome.name!r}: "
        + "; ".join((*outcome.differences, *outcome.openings))
        + ".",
        remedy="Choose another template with `template:`"
        + ("." if template.origin == "tokenizer" else ", or leave it out to use the model's own."),
        where=Where(key="template"),
    )
