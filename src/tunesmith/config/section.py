# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Base of all configuration sections.

A section is a frozen pydantic model whose fields are flat YAML keys; each key belongs to exactly one section. A part
(tuner, objective, optimizer, …) keeps its section next to its code; the general ones stand in `config/sections/`.
"""

import types
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """Typed keys of one part. Write fields as `lora_rank: int = Field(8, ge=1, description="…")`.

    `selected_by` names the choices that make the part active, e.g. {"finetuning_type": ("lora",)}: keys of an inactive
    part are reported as having no effect. An empty mapping is always active. A field of type `tuple[str, ...]` also
    takes LLaMA-Factory's comma-separated text; defaults must be plain JSON values (tuples for lists).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, coerce_numbers_to_str=True)

    section: ClassVar[str]
    selected_by: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    @model_validator(mode="before")
    @classmethod
    def _split_comma_lists(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {name: split_list(value) if cls._is_list(name) else value for name, value in values.items()}

    @classmethod
    def _is_list(cls, name: str) -> bool:
        field = cls.model_fields.get(name)
        return field is not None and has_list_type(field.annotation)


def split_list(value: Any) -> Any:
    """Turn 'a, b' into ('a', 'b'), a single value into a tuple of one, and leave lists and None alone."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if value is None or isinstance(value, list | tuple):
        return value
    return (value,)


def has_list_type(annotation: Any) -> bool:
    """Say whether a field's type is `tuple[X, ...]`, optional or annotated or not."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return has_list_type(get_args(annotation)[0])
    if origin is Union or origin is types.UnionType:
        return any(has_list_type(member) for member in get_args(annotation))
    return origin is tuple
