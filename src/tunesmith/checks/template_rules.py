# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Rules over the chat template and this vocabulary, judged on one rendered question and answer.

A template that cannot be rendered at all is refused by `templates/`, with its own codes.
"""

from collections.abc import Iterator

import numpy as np

from tunesmith.checks.context import PROBE, CheckContext
from tunesmith.checks.rule import Finding, rule
from tunesmith.templates.chat import control_tokens_missing


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


@rule("check.answer_dropped", "refuse", needs=("training", "probe"))
def answers_are_supervised(context: CheckContext) -> Iterator[Finding]:
    """Find a template whose supervised tokens do not hold the answer."""
    rendered = context.probe
    trained = context.tokenizer.decode(rendered.input_ids[rendered.weights > 0].tolist())
    answer = PROBE.messages[-1].content
    if "".join(answer.split()) not in "".join(str(trained).split()):
        yield Finding(
            message=f"The chat template {context.template.name!r} does not train the answer: of {answer!r} it would "
            f"train {trained!r}.",
            remedy="Choose another template with `template:`, or leave it out to use the model's own.",
            where=context.at("template"),
        )


@rule("check.stop_token_missing", "refuse", needs=("training", "probe"))
def answers_end_with_a_stop_token(context: CheckContext) -> Iterator[Finding]:
    """Find a template whose answers end without a trained stop token: the model would never stop talking."""
    rendered = context.probe
    trained = np.flatnonzero(rendered.weights > 0)
    last = int(rendered.input_ids[trained[-1]]) if len(trained) else None
    if last not in context.template.stop_ids():
        shown = context.tokenizer.convert_ids_to_tokens([last]) if last is not None else "nothing"
        yield Finding(
            message=f"The chat template {context.template.name!r} ends an answer with {shown}, which is no stop token: "
            "a model trained with it would never stop.",
            remedy="Choose another template with `template:`, or leave it out to use the model's own.",
            where=context.at("template"),
        )
