# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Help texts: the commands, a command's options and keys, one key, one error code; all from the generated index."""

from collections.abc import Sequence
from typing import Any

from tunesmith import __version__
from tunesmith.cli.options import RUN_VERBS, parser_of
from tunesmith.config.index import Index, KeyEntry
from tunesmith.core.errors import ExitCode, error_table, refusal
from tunesmith.core.names import nearest

VERBS = {
    "train": "fine-tune a model as a file says",
    "chat": "talk to a model in the terminal",
    "export": "merge adapters, save the model, verify what was saved",
    "score": "let a reward model judge the answers of rows, into a JSONL file",
    "check": "judge configuration, model, template and data without training",
    "render": "render one conversation to text, ids and the mask of what is trained",
    "verify": "`verify template`: compare what training, serving and transformers make of conversations",
    "inspect": "show rows as the model will see them, counted and judged",
    "prepare": "tokenise the data of a run before it starts",
    "models": "list families of models: templates, tool formats, default targets, what was verified",
    "data": "convert data files: `data convert IN OUT`, CSV, JSON, JSONL, Parquet",
    "env": "show versions, hardware and what is missing or broken",
    "version": "print the version",
    "help": "explain a command, a key or an error code",
}
# General sections whose keys a command's help leaves out. Keys of a part (a tuner, a loss) concern training alone.
_HIDDEN = {
    "train": ("generation", "export"),
    "chat": ("data", "training", "optimizers", "export"),
    "export": ("data", "training", "optimizers", "generation"),
    "score": ("training", "optimizers", "generation", "export"),
    "check": (),
    "verify": ("data", "training", "optimizers", "generation", "export"),
    "inspect": ("training", "optimizers", "generation", "export"),
    "prepare": ("training", "optimizers", "generation", "export"),
}
_SHOW_PARTS = ("train", "check")
_KINDS = {
    "boolean": "true/false",
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "list": "list",
    "object": "mapping",
}
_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def overview() -> str:
    """List the commands."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb.ljust(width)}  {text}" for verb, text in VERBS.items())
    return (
        f"tunesmith {__version__}: fine-tune, check, chat with and export open language models.\n\n"
        f"usage: tunesmith <command> [FILE] [key=value | --key value ...] [--json]\n\n{verbs}\n\n"
        "`tunesmith <command> --help` lists a command's keys, `tunesmith help KEY` explains one."
    )


def verb_page(verb: str, index: Index) -> str:
    """Show a command's options and, for commands that take a configuration, its keys by section."""
    lines = [f"tunesmith {verb}: {VERBS[verb]}.", "", parser_of(verb).format_help().rstrip()]
    if verb not in RUN_VERBS:
        return "\n".join(lines)
    lines += ["", "Keys, in FILE as `key: value` and here as key=value or --key value:"]
    for section, title in index.sections.items():
        entries = [entry for entry in index.keys.values() if entry.section == section]
        is_part = all(entry.selected_by for entry in entries)
        if entries and section not in _HIDDEN[verb] and (not is_part or verb in _SHOW_PARTS):
            lines += ["", f"{section}: {title}", *(_row(entry) for entry in entries)]
    return "\n".join(lines)


def _row(entry: KeyEntry) -> str:
    return f"  {entry.name} ({shown_value(entry.default)})  {entry.help}"


def topic_page(topic: str, index: Index) -> str:
    """Explain a command, a key or an error code, or refuse with the nearest name."""
    if topic in VERBS:
        return verb_page(topic, index)
    if topic in error_table():
        entry = error_table()[topic]
        code = ExitCode[entry["exit"].upper()]
        return f"{topic} (exit code {code.value}, {code.name.lower()}): {entry['summary']}"
    return "\n".join(_key_lines(topic.removeprefix("--").replace("-", "_"), index))


def _key_lines(name: str, index: Index) -> list[str]:
    if name in index.keys:
        return _built_lines(index.keys[name], index)
    if name in index.pending:
        pending = index.pending[name]
        return [f"{name}: known, not built yet: it waits for {pending.waits_for}.",
                f"  accepted  {', '.join(map(shown_value, pending.neutral))} (its default)"]  # fmt: skip
    if name in index.renamed:
        today = str(index.renamed[name]["to"])
        return [f"{name} is an older name of {today}.", "", *_key_lines(today.partition(".")[0], index)]
    if name in index.gone:
        return [f"{name} is known, but has no use or equivalent here. {index.gone[name]['remedy']}"]
    if name in index.foreign:
        return [f"{name} is no key of tunesmith. {index.foreign[name]}"]
    names = [*index.known_names(), *VERBS, *error_table()]
    raise refusal("config.key_unknown", f"There is no command, key or error code {name!r}.",
                  "`tunesmith check --help` lists all keys." + nearest(name, names), key=name)  # fmt: skip


def _built_lines(entry: KeyEntry, index: Index) -> list[str]:
    limits = ", ".join(f"{_BOUNDS[bound]} {limit:g}" for bound, limit in entry.bounds.items())
    lines = [
        f"{entry.name}: {entry.help}",
        f"  section   {entry.section}",
        f"  type      {' or '.join(_KINDS[kind] for kind in entry.kinds)}{f' ({limits})' if limits else ''}",
        f"  default   {shown_value(entry.default)}",
    ]
    if entry.choices:
        lines.append(f"  choices   {', '.join(entry.choices)}")
    waiting = index.pending_values.get(entry.name, {})
    if waiting:
        lines.append(f"  not built yet  {', '.join(waiting)}")
    if entry.selected_by:
        lines.append(f"  used with {'; '.join(f'{key}: {_any_of(names)}' for key, names in entry.selected_by.items())}")
    if entry.is_inherited:
        lines.append("  origin    transformers' TrainingArguments")
    return lines


def _any_of(names: Sequence[str]) -> str:
    return " or ".join(names)


def shown_value(value: Any) -> str:
    """Write a default as a user would."""
    if value is None or value == []:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def topic_json(topic: str, index: Index) -> dict[str, Any]:
    """Give what is known of a topic as data."""
    name = topic.removeprefix("--").replace("-", "_")
    data: dict[str, Any] = {"topic": topic, "text": topic_page(topic, index)}
    if name in index.keys:
        data["key"] = {"name": name, **index.keys[name].to_json()}
    return data
