# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Resolves a file, a mapping and command-line words into one flat mapping, reporting all problems at once.

Works from the index alone: needs neither pydantic nor torch.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tunesmith.config.data_rules import DATA_RULES
from tunesmith.config.environment import substitute
from tunesmith.config.index import Index
from tunesmith.config.inspecting import for_inspection
from tunesmith.config.keys import check_entry, chosen_words, inactive_warning
from tunesmith.config.rules import RULES, Job, Rule, Scope
from tunesmith.config.source import Entry, merge_layers, read_file, read_mapping
from tunesmith.config.translate import translate
from tunesmith.config.tuner_rules import TUNER_RULES
from tunesmith.config.values import read_names
from tunesmith.core.errors import Problem, TunesmithError, Where
from tunesmith.core.names import nearest

Command = Literal["train", "chat", "export", "check", "inspect", "prepare", "score", "verify"]
# Commands that look at the rows of a training run, without its training.
ROW_COMMANDS = ("inspect", "prepare", "score")
# Keys that take auto, with the number that stands in until model and data are known.
AUTOMATIC_NUMBERS: Mapping[str, float] = {"lora_rank": 16, "learning_rate": 1e-4}
_JOB_OF: Mapping[str, Job] = {
    "train": "train",
    "inspect": "train",
    "prepare": "train",
    "score": "train",
    "chat": "chat",
    "verify": "chat",
    "export": "export",
}
Source = Path | Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class KeyOrigin:
    """Where the user set a key: file and line, or neither for the command line and Python; `written_as` an old name."""

    file: str | None = None
    line: int | None = None
    written_as: str | None = None


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """The outcome: `values` holds what the user set, `choices` what follows from it, `defaults` the rest.

    `automatic` names the keys that the user set to auto; until a job knows better they have a stand-in as choice.
    """

    command: Command
    job: Job
    values: Mapping[str, Any]
    choices: Mapping[str, Any]
    defaults: Mapping[str, Any]
    origins: Mapping[str, KeyOrigin]
    warnings: tuple[Problem, ...]
    automatic: tuple[str, ...] = ()


@dataclass(kw_only=True)
class _Findings:
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    tainted: set[str] = field(default_factory=set)

    def add(self, problem: Problem, key: str, known: Iterable[str]) -> None:
        self.problems.append(problem)
        close = nearest(key, known)
        self.tainted |= {key, close.partition("'")[2].rpartition("'")[0]}


def resolve(source: Source, index: Index, *, command: Command, overrides: Sequence[Entry] = ()) -> Resolved:
    """Resolve `source` with `overrides` on top, or refuse with every problem found."""
    findings = _Findings()
    entries = _read_layers(source, overrides, index, findings)
    if command in ROW_COMMANDS:
        index, entries = for_inspection(index, entries)
    words = chosen_words(entries, index)
    values = _check_entries(entries, index, words, findings)
    job = job_of(command, {entry.key for entry in entries})
    choices = _choices(values, job)
    automatic = tuple(key for key in AUTOMATIC_NUMBERS if values.get(key) == "auto")
    choices |= {key: AUTOMATIC_NUMBERS[key] for key in automatic}
    values = {key: value for key, value in values.items() if key not in automatic}
    flat = {**index.defaults(), **choices, **values}
    _check_rules(flat, entries, "inspect" if command in ROW_COMMANDS else job, findings)
    if findings.problems:
        raise TunesmithError(sorted(findings.problems, key=_position))
    idle = inactive_warning(entries, index, words) if job == "train" and command not in ROW_COMMANDS else None
    return Resolved(
        command=command,
        job=job,
        values=values,
        choices=choices,
        defaults={key: value for key, value in flat.items() if key not in values and key not in choices},
        origins={entry.key: _origin(entry) for entry in entries if entry.key in values},
        automatic=automatic,
        warnings=(*findings.warnings, *([idle] if idle else [])),
    )


def named_plugins(source: Source, overrides: Iterable[Entry] = ()) -> list[str]:
    """Read only the key `plugins`, which decides which other keys exist."""
    read = read_file(source) if isinstance(source, Path) else read_mapping(source)
    named = [entry for entry in (*read.entries, *overrides) if entry.key == "plugins"]
    return read_names(named[-1].value) if named else []


def job_of(command: Command, keys: Iterable[str]) -> Job:
    """Name the job a configuration describes: `check` reads it off the keys; rows are looked at as trained on."""
    if command in _JOB_OF:
        return _JOB_OF[command]
    present = set(keys)
    if "export_dir" in present:
        return "export"
    is_training = present & {"dataset", "eval_dataset", "do_train", "do_eval", "stage", "output_dir", "learning_rate"}
    return "train" if is_training else "chat"


def _read_layers(source: Source, overrides: Sequence[Entry], index: Index, findings: _Findings) -> list[Entry]:
    read = read_file(source) if isinstance(source, Path) else read_mapping(source)
    for problem in read.problems:
        findings.add(problem, problem.where.key or "", ())
    upper = _read_layer(overrides, index, findings)
    replaced = {entry.key for entry in upper}
    lower = [entry for entry in read.entries if _name_today(entry, index) not in replaced]
    return merge_layers([_read_layer(lower, index, findings), upper])


def _name_today(entry: Entry, index: Index) -> str:
    return str(index.renamed[entry.key]["to"]) if entry.key in index.renamed else entry.key


def _read_layer(layer: Iterable[Entry], index: Index, findings: _Findings) -> tuple[Entry, ...]:
    filled: list[Entry] = []
    for entry in layer:
        outcome = substitute(entry)
        if isinstance(outcome, Problem):
            findings.add(outcome, entry.key, ())
        else:
            filled.append(outcome)
    translated = translate(filled, index)
    for problem in translated.problems:
        findings.add(problem, problem.where.key or "", ())
    findings.warnings.extend(translated.warnings)
    return translated.entries


def _check_entries(
    entries: Iterable[Entry], index: Index, words: Mapping[str, str], findings: _Findings
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for entry in entries:
        outcome = check_entry(entry, index, words)
        if isinstance(outcome, Problem):
            findings.add(outcome, entry.key, index.keys)
        elif entry.key in index.keys and (entry.value is not None or index.keys[entry.key].takes_null):
            values[entry.key] = outcome
    return values


def _choices(values: Mapping[str, Any], job: Job) -> dict[str, Any]:
    """What follows from the user's keys: training is what `train` does, and neat packing packs."""
    choices: dict[str, Any] = {}
    asks_for_less = values.get("do_eval", False) or values.get("do_predict", False)
    if job == "train" and "do_train" not in values and not asks_for_less:
        choices["do_train"] = True
    if values.get("neat_packing", False) and "packing" not in values:
        choices["packing"] = True
    return choices


def _check_rules(flat: Mapping[str, Any], entries: Sequence[Entry], scope: Scope, findings: _Findings) -> None:
    by_key = {entry.key: entry for entry in entries}
    tainted = set(findings.tainted)
    for rule in (*RULES, *DATA_RULES, *TUNER_RULES):
        if scope in rule.jobs and not tainted & set(rule.keys) and by_key.keys() >= set(rule.if_set):
            finding = rule.check(flat)
            if finding is not None:
                findings.problems.append(
                    Problem(code=finding.code, message=finding.message, remedy=finding.remedy,
                            where=_place(rule, by_key, entries))
                )  # fmt: skip


def _place(rule: Rule, by_key: Mapping[str, Entry], entries: Sequence[Entry]) -> Where:
    entry = next((by_key[key] for key in rule.keys if key in by_key), None)
    if entry is not None:
        return entry.where()
    file = next((other.file for other in entries if other.file is not None), None)
    return Where(file=file, key=rule.keys[0])


def _position(problem: Problem) -> tuple[int, str]:
    return (problem.where.line if problem.where.line is not None else 1_000_000_000, problem.where.key or "")


def _origin(entry: Entry) -> KeyOrigin:
    return KeyOrigin(file=entry.file, line=entry.line, written_as=entry.written_as)
