# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rules over the chat template and this vocabulary, judged on one rendered question and answer.

A template that cannot be rendered at all is refused by `templates/`, with its own codes.
"""

from collections.abc import Iterator

from tunesmith.checks.context import PROBE, CheckContext
from tunesmith.checks.rule import Finding, rule
from tunesmith.core.errors import TunesmithError
from tunesmith.templates.chat import control_tokens_missing

_ANSWER = PROBE.messages[-1].content
_REMEDY = "Choose another template with `template:`, or leave it out to use the model's own."


@rule("check.control_token_foreign", "refuse", needs=("template",))
def control_tokens_are_known(context: CheckContext) -> Iterator[Finding]:
    """Find a template of another family: its control tokens are not single tokens of this vocabulary."""
    missing = control_tokens_missing(context.template, context.tokenizer)
    if missing:
        yield Finding(
            message=f"The chat template {context.template.name!r} writes {', '.join(missing[:5])}, which "
            f"{'is' if len(missing) == 1 else 'are'} no single token of this model's vocabulary: it belongs to another "
            "model family.",
            remedy="Leave `template:` out to use the model's own, or name the template of its family.",
            where=context.at("template"),
        )


@rule("check.answer_dropped", "refuse", needs=("training", "template"))
def answers_are_rendered(context: CheckContext) -> Iterator[Finding]:
    """Find a template that leaves answers out."""
    try:
        rendered = context.template.render(PROBE, add_generation_prompt=True)
    except TunesmithError:  # It wants a question before its prompt; the probe itself will tell.
        return
    if _letters(_ANSWER) not in _letters(rendered.text):
        yield Finding(
            message=f"The chat template {context.template.name!r} leaves answers out: of a question and the answer "
            f"{_ANSWER!r} it makes {rendered.text!r}.",
            remedy=_REMEDY,
            where=context.at("template"),
        )


@rule("check.answer_untrained", "refuse", needs=("training", "probe"))
def answers_are_supervised(context: CheckContext) -> Iterator[Finding]:
    """Find a template whose generation marks are not around the answer."""
    rendered = context.probe
    trained = str(context.tokenizer.decode(rendered.input_ids[rendered.weights > 0].tolist()))
    if _letters(_ANSWER) not in _letters(trained):
        yield Finding(
            message=f"With the chat template {context.template.name!r} the answer {_ANSWER!r} would not be trained, "
            f"but {trained!r}: its generation marks are at the wrong place.",
            remedy=_REMEDY,
            where=context.at("template"),
        )


def _letters(text: str) -> str:
    return "".join(text.split())
