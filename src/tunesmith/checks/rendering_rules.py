# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Before every training: what is trained is what is served, on a few conversations (`verify template` has more)."""

from collections.abc import Iterator

from tunesmith.checks.context import CheckContext
from tunesmith.checks.rule import Finding, rule
from tunesmith.checks.template_rules import answers_are_supervised
from tunesmith.templates.jinja_template import JinjaTemplate
from tunesmith.templates.run_template import policy_of
from tunesmith.templates.verification import verify_template


@rule("check.rendering_differs", "refuse", needs=("training", "probe"))
def training_is_what_is_served(context: CheckContext) -> Iterator[Finding]:
    """Find a template with which training, prompts and apply_chat_template give other tokens."""
    template = context.template
    if not isinstance(template, JinjaTemplate) or any(answers_are_supervised(context)):
        return
    outcomes = verify_template(template, context.tokenizer, is_brief=True, policy=policy_of(context.config))
    for outcome in outcomes:
        if outcome.differences:
            yield Finding(
                message=f"With the chat template {template.name!r}, conversation {outcome.name!r}: "
                f"{'; '.join(outcome.differences)}.",
                remedy="Choose another template with `template:`, or leave it out to use the model's own; "
                "`tunesmith verify template` shows all.",
                where=context.at("template"),
            )
