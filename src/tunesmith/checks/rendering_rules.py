# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Before every training: what is trained is what is served, on a few conversations (`verify template` has more)."""

from collections.abc import Iterator, Sequence

from tunesmith.checks.context import CheckContext
from tunesmith.checks.rule import Finding, rule
from tunesmith.checks.template_rules import answers_are_supervised
from tunesmith.templates.jinja_template import JinjaTemplate
from tunesmith.templates.run_template import policy_of
from tunesmith.templates.verification import CaseOutcome, verify_template

_REMEDY = "Choose another template with `template:`; `tunesmith verify template` shows all."


@rule("check.rendering_differs", "refuse", needs=("training", "probe"))
def training_is_what_is_served(context: CheckContext) -> Iterator[Finding]:
    """Find a template with which training, prompts and apply_chat_template give other tokens."""
    for outcome in _outcomes(context):
        if outcome.differences:
            yield _finding(context, outcome.name, outcome.differences, _REMEDY)


@rule("check.thoughts_opened", "warn", needs=("training", "probe"))
def prompts_open_what_is_trained(context: CheckContext) -> Iterator[Finding]:
    """Find a template whose prompt opens thoughts that it does not render in answers."""
    remedy = (
        "Choose a template that renders thoughts with `template:`, or write them into the contents: served, the model "
        "would begin with thoughts that it was not trained to write."
    )
    for outcome in _outcomes(context):
        if outcome.openings:
            yield _finding(context, outcome.name, outcome.openings, remedy)
            return


def _outcomes(context: CheckContext) -> list[CaseOutcome]:
    template = context.template
    if not isinstance(template, JinjaTemplate) or any(answers_are_supervised(context)):
        return []
    return verify_template(template, context.tokenizer, is_brief=True, policy=policy_of(context.config))


def _finding(context: CheckContext, case: str, found: Sequence[str], remedy: str) -> Finding:
    return Finding(
        message=f"With the chat template {context.template.name!r}, conversation {case!r}: {'; '.join(found)}.",
        remedy=remedy,
        where=context.at("template"),
    )
