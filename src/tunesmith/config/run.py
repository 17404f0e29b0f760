# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The resolved configuration of one run: typed sections, the flat values, where each came from, and its file form."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from tunesmith import __version__
from tunesmith.config.environment import escape
from tunesmith.config.resolve import Command, KeyOrigin, Resolved
from tunesmith.config.rules import Job
from tunesmith.config.section import Section
from tunesmith.config.sections.aids import AidsSection
from tunesmith.config.sections.data import DataSection
from tunesmith.config.sections.export import ExportSection
from tunesmith.config.sections.generation import GenerationSection
from tunesmith.config.sections.model import ModelSection
from tunesmith.config.sections.quantization import QuantizationDetails, QuantizationSection
from tunesmith.config.sections.run import RunSection
from tunesmith.config.sections.template import TemplateSection
from tunesmith.config.sections.training import TrainingSection
from tunesmith.config.sections.vocabulary import PositionSection, VocabularySection
from tunesmith.core.errors import Problem, TunesmithError, Where

SectionType = TypeVar("SectionType", bound=Section)

GENERAL_SECTIONS: tuple[type[Section], ...] = (
    RunSection,
    ModelSection,
    QuantizationSection,
    QuantizationDetails,
    VocabularySection,
    PositionSection,
    TemplateSection,
    DataSection,
    TrainingSection,
    AidsSection,
    GenerationSection,
    ExportSection,
)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One resolved configuration. Sections of parts come from `part`; `flat` holds every key with its value."""

    resolved: Resolved
    run: RunSection
    model: ModelSection
    quantization: QuantizationSection
    template: TemplateSection
    data: DataSection
    training: TrainingSection
    aids: AidsSection
    generation: GenerationSection
    export: ExportSection

    @classmethod
    def of(cls, resolved: Resolved) -> "RunConfig":
        """Build the typed sections."""
        return cls(
            resolved=resolved,
            run=build_section(RunSection, resolved),
            model=build_section(ModelSection, resolved),
            quantization=build_section(QuantizationSection, resolved),
            template=build_section(TemplateSection, resolved),
            data=build_section(DataSection, resolved),
            training=build_section(TrainingSection, resolved),
            aids=build_section(AidsSection, resolved),
            generation=build_section(GenerationSection, resolved),
            export=build_section(ExportSection, resolved),
        )

    @property
    def command(self) -> Command:
        """Command that the user gave."""
        return self.resolved.command

    @property
    def job(self) -> Job:
        """Job that the configuration describes: the command, or for `check` what the keys say."""
        return self.resolved.job

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Warnings of the resolution."""
        return self.resolved.warnings

    @property
    def flat(self) -> Mapping[str, Any]:
        """Every key of the index with its value."""
        return MappingProxyType({**self.resolved.defaults, **self.resolved.choices, **self.resolved.values})

    def part(self, section: type[SectionType]) -> SectionType:
        """Build the section of a part from the keys that are set."""
        return build_section(section, self.resolved)

    def origin(self, key: str) -> KeyOrigin | None:
        """Say where the user set a key; None when the user did not."""
        return self.resolved.origins.get(key)

    def is_set(self, key: str) -> bool:
        """Say whether the user set a key."""
        return key in self.resolved.origins

    def with_choices(self, choices: Mapping[str, Any]) -> "RunConfig":
        """Record what the program chose for keys (also ones the user set); the saved file carries it."""
        values = {key: value for key, value in self.resolved.values.items() if key not in choices}
        merged = {**self.resolved.choices, **choices}
        return RunConfig.of(replace(self.resolved, values=values, choices=merged))

    def to_yaml(self) -> str:
        """Write the configuration so that it can be run again: the keys that are set, each with its origin."""
        lines = [
            f"# Resolved by tunesmith {__version__} for `tunesmith {self.command}`; other keys have their defaults."
        ]
        lines += [_line(key, value, _origin_text(self.origin(key))) for key, value in self.resolved.values.items()]
        if self.resolved.choices:
            lines.append("# chosen by tunesmith")
            lines += [_line(key, value, "") for key, value in self.resolved.choices.items()]
        return "\n".join(lines) + "\n"


def build_section(section: type[SectionType], resolved: Resolved) -> SectionType:
    """Build one section from the set keys; other fields keep the section's defaults."""
    given = {**resolved.choices, **resolved.values}
    fields = {name: given[name] for name in section.model_fields if name in given}
    try:
        return section.model_validate(fields)
    except ValidationError as error:
        raise TunesmithError([_problem(detail, resolved) for detail in error.errors()]) from error


def _problem(detail: Any, resolved: Resolved) -> Problem:
    key = str(detail["loc"][0]) if detail["loc"] else None
    origin = resolved.origins.get(key or "")
    return Problem(
        code="config.value_invalid",
        message=f"{key or 'A section'}: {detail['msg']}.",
        remedy=f"Correct {key}; see `tunesmith help {key}`." if key else "Correct the keys of this section.",
        where=Where(file=origin.file if origin else None, line=origin.line if origin else None, key=key),
    )


def _line(key: str, value: Any, comment: str) -> str:
    return f"{key}: {_scalar(escape(value))}" + (f"  # {comment}" if comment else "")


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if _needs_quotes(value) else value
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1_000_000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...").removesuffix("\n")


def _needs_quotes(text: str) -> bool:
    dumped = yaml.safe_dump(text, allow_unicode=True, width=1_000_000)
    return "$" in text or dumped not in (f"{text}\n", f"{text}\n...\n")


def _origin_text(origin: KeyOrigin | None) -> str:
    if origin is None:
        return ""
    place = f"{origin.file}:{origin.line}" if origin.file else "command line"
    return f"{place}, as {origin.written_as}" if origin.written_as else place
