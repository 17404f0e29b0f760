# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""`tunesmith render`: one conversation through the training path, from a tokenizer's folder and without weights."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tunesmith.core.optional import import_by_name
from tunesmith.core.types import Rendered
from tunesmith.jobs.render_text import RenderRequest, read_request
from tunesmith.templates.chat import Settings, load_template
from tunesmith.templates.jinja_template import JinjaTemplate
from tunesmith.templates.tokenizer import load_tokenizer


def run(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Render one conversation to text, ids and the mask of what is trained."""
    request = read_request(flags)
    folder = Path(flags["model_name_or_path"]).expanduser()
    if not folder.is_dir():
        # A name of a hub or an embedded model; a folder needs no library of models, which takes seconds to load.
        folder = import_by_name("tunesmith.models.load").resolve_model(flags["model_name_or_path"])
    tokenizer = load_tokenizer(folder)
    settings = Settings(variables={**request.tokens, **request.variables}, date=_date(flags, request))
    template = load_template(tokenizer, name=flags["template"], folder=folder, settings=settings)
    assert isinstance(template, JinjaTemplate), "there is one kind of template"
    rendered = _render(template, request)
    return {
        "text": rendered.text,
        "input_ids": rendered.input_ids.tolist(),
        "train_mask": [int(weight > 0) for weight in rendered.weights.tolist()],
        "stop_ids": list(template.stop_ids()),
        "notes": list(rendered.notes),
        "template": template.name,
        "date": template.facts.date.isoformat(),
    }


def _render(template: JinjaTemplate, request: RenderRequest) -> Rendered:
    if not request.is_raw:
        return template.render(request.conversation(), add_generation_prompt=request.is_prompt)
    return template.render_dicts(request.messages, request.tools, is_prompt=request.is_prompt)


def _date(flags: Mapping[str, Any], request: RenderRequest) -> datetime | None:
    # Without the flag a saved template keeps the date that it was trained with.
    return request.date if flags["date"] is not None else None
