# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The one reading of a run's template keys: which template, with which settings, and what is trained of it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from tunesmith.config.run import RunConfig
from tunesmith.core.errors import refusal, warning
from tunesmith.core.report import emit_warning
from tunesmith.templates.base import ChatTemplate, ReasoningPolicy, TrainPolicy
from tunesmith.templates.chat import Settings, load_template
from tunesmith.templates.jinja_template import FACTS_FILE, TEMPLATE_FILE
from tunesmith.templates.loss_scale import read_loss_scale
from tunesmith.templates.sources import read_template_file
from tunesmith.templates.tools.base import tool_formats

_OWN_KEYS = ("enable_thinking", "preserve_thinking")
_OF_CONVERSATIONS = ("messages", "tools", "documents", "add_generation_prompt")


def load_run_template(config: RunConfig, tokenizer: PreTrainedTokenizerBase, folders: Sequence[Path]) -> ChatTemplate:
    """Load the template of a run: the one named, else that of the last folder with one, else the model's own."""
    return load_template(
        tokenizer, name=config.template.template, folder=_carrying(folders), settings=settings_of(config)
    )


def load_served_template(
    config: RunConfig, tokenizer: PreTrainedTokenizerBase, folders: Sequence[Path]
) -> ChatTemplate:
    """Load the template of a run that answers; one that differs from what was trained is refused, unless wanted."""
    template = load_run_template(config, tokenizer, folders)
    folder = _carrying(folders)
    if folder is None:
        return template
    is_wanted = config.template.allow_other_template
    trained = _trained_source(folder)
    if config.template.template is None and trained is not None and not _is_alike(folder, trained):
        _object(f"{folder} carries another {TEMPLATE_FILE} than the one it was trained with.", folder, is_wanted)
    carried = read_template_file(folder / TEMPLATE_FILE)
    if config.template.template is not None and carried.rstrip() != template.source.rstrip():
        _object(
            f"{folder} carries a chat template of its own; `template` asks for {config.template.template!r}, which "
            "writes other text.",
            folder,
            is_wanted or trained is None,
        )
    return template


def settings_of(config: RunConfig) -> Settings:
    """Give what the user set about the template; what was not set is left to a saved template."""
    keys = config.template
    if keys.tool_format is not None:
        tool_formats.get(keys.tool_format)
    variables = _further_variables(keys.template_kwargs or {})
    if config.is_set("enable_thinking") and keys.enable_thinking is not None:
        variables["enable_thinking"] = keys.enable_thinking
    if keys.preserve_thinking:
        # Qwen3.6 and others ask for it by this name; GLM-4.7 by its opposite.
        variables |= {"preserve_thinking": True, "clear_thinking": False}
    return Settings(
        variables=variables,
        special_text=keys.special_tokens_in_content if config.is_set("special_tokens_in_content") else None,
        tool_format=keys.tool_format,
    )


def _further_variables(given: Mapping[str, Any]) -> dict[str, Any]:
    """Take the user's variables; those that the conversation or a key of its own sets are refused."""
    for name in given:
        if name in _OWN_KEYS or name in _OF_CONVERSATIONS:
            remedy = f"Set the key {name}" if name in _OWN_KEYS else "The conversation sets it"
            raise refusal(
                "template.variable_invalid",
                f"template_kwargs sets {name!r}, which is no variable for it to set.",
                f"{remedy}; leave it out of template_kwargs.",
                key="template_kwargs",
            )
    try:
        json.dumps(given)
    except TypeError as error:
        raise refusal(
            "template.variable_invalid",
            f"template_kwargs holds a value that no JSON can hold: {error}.",
            'Write dates as text in quotes, e.g. {date_string: "26 Jul 2024"}.',
            key="template_kwargs",
        ) from error
    return dict(given)


def policy_of(config: RunConfig) -> TrainPolicy:
    """Give what is trained.

    LLaMA-Factory's `enable_thinking: false` removes all thoughts and trains no empty block; `null` trains no block that
    answers without thoughts get. `preserve_thinking` trains the thoughts of earlier answers too.
    """
    keys = config.template
    is_null = config.is_set("enable_thinking") and keys.enable_thinking is None
    is_off = config.is_set("enable_thinking") and keys.enable_thinking is False
    implied: ReasoningPolicy | None = "keep" if keys.preserve_thinking else "never_train_injected" if is_null else None
    if keys.loss_scale is not None:
        read_loss_scale(keys.loss_scale)
    return TrainPolicy(
        train_on_prompt=keys.train_on_prompt,
        mask_history=keys.mask_history,
        default_system=keys.default_system,
        reasoning=keys.reasoning_policy or implied,
        without_reasoning=is_off and keys.reasoning_policy is None,
        loss_scale=keys.loss_scale,
    )


def serving_policy_of(config: RunConfig) -> TrainPolicy:
    """Give what prompts are rendered with: the same messages as in training, and nothing trained."""
    trained = policy_of(config)
    reasoning = trained.reasoning if trained.reasoning == "strip_history" else None
    return replace(TrainPolicy(default_system=trained.default_system), reasoning=reasoning)


def _carrying(folders: Sequence[Path]) -> Path | None:
    """Give the last folder with a template of its own: the model was trained with it last."""
    return next((folder for folder in reversed(folders) if (folder / TEMPLATE_FILE).is_file()), None)


def _trained_source(folder: Path) -> str | None:
    """Give the hash of the template that a folder was trained with, or None where it was not trained here."""
    facts = folder / FACTS_FILE
    if not facts.is_file():
        return None
    saved = json.loads(facts.read_text(encoding="utf-8"))
    return str(saved.get("source_sha256", ""))


def _is_alike(folder: Path, trained: str) -> bool:
    source = read_template_file(folder / TEMPLATE_FILE)
    return trained in ("", hashlib.sha256(source.encode()).hexdigest())


def _object(message: str, folder: Path, is_wanted: bool) -> None:
    remedy = "Leave `template` out and the folder's files as they were to serve what was trained"
    place = {"key": "template", "file": str(folder / TEMPLATE_FILE)}
    if not is_wanted:
        raise refusal("template.frozen_differs", message, f"{remedy}, or set allow_other_template: true.", **place)
    emit_warning(warning("template.frozen_differs", message, f"{remedy}.", **place))
