# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Reads a YAML or JSON file, a mapping, or command-line words into entries: key, value, and where each stands.

Knows nothing of which keys exist; reports what is not readable at all.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tunesmith.core.errors import Problem, TunesmithError, Where, refusal
from tunesmith.core.names import nearest

_BaseLoader: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


class _Loader(_BaseLoader):  # type: ignore[misc]
    """Safe YAML in which `1e-4` is a number, as in YAML 1.2 and in LLaMA-Factory."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d[\d_]*)(\.[\d_]*)?[eE][-+]?\d+$"), list("-+0123456789")
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One key as the user wrote it. `text` is a scalar's own text; `line` is 1-based; command-line words have none."""

    key: str
    value: Any
    text: str | None = None
    file: str | None = None
    line: int | None = None
    written_as: str | None = None

    def where(self) -> Where:
        """Place of the entry for a problem; the key as the user wrote it."""
        return Where(file=self.file, line=self.line, key=self.written_as or self.key)


@dataclass(frozen=True, kw_only=True)
class ReadFile:
    """Entries of one file in its order, and what was wrong with some of them."""

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...] = ()


def read_file(path: Path) -> ReadFile:
    """Read a configuration file; a file that cannot be read at all is refused at once."""
    text = _read_text(path)
    if not text.strip():
        raise refusal("config.file_empty", f"{path} is empty.", "Write at least one key, or name another file.",
                      file=str(path))  # fmt: skip
    return _read_json(path, text) if path.suffix.lower() == ".json" else _read_yaml(path, text)


def read_mapping(mapping: Mapping[str, Any]) -> ReadFile:
    """Read keys given from Python."""
    return ReadFile(entries=tuple(Entry(key=key, value=_plain(value)) for key, value in mapping.items()))


def read_scalar(text: str) -> tuple[Any, str]:
    """Read a value given as text, as YAML would; give it and its text without quotes. What is no YAML stays text."""
    try:
        value = _Loader(text).get_single_data()
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return text, text
    return value, value if isinstance(value, str) and text[:1] in "'\"" else text


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return list(value) if isinstance(value, tuple) else value


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise refusal("config.file_missing", f"There is no file {path}.",
                      "Check the path; it is relative to the current folder." + nearest(path.name, siblings),
                      file=str(path)) from None  # fmt: skip
    except UnicodeDecodeError as error:
        raise refusal("config.file_unreadable", f"{path} is not UTF-8 text: {error.reason} at byte {error.start}.",
                      "Save the file as UTF-8.", file=str(path)) from error  # fmt: skip
    except OSError as error:
        raise refusal("config.file_unreadable", f"{path} cannot be read: {error.strerror}.",
                      "Name a readable file.", file=str(path)) from error  # fmt: skip


def _malformed(path: Path, what: str, line: int | None, remedy: str) -> TunesmithError:
    return refusal("config.file_malformed", what, remedy, file=str(path), line=line)


def _read_yaml(path: Path, text: str) -> ReadFile:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise refusal("config.file_empty", f"{path} holds no keys.", "Write at least one key.", file=str(path))
        if not isinstance(node, yaml.MappingNode):
            line = node.start_mark.line + 1
            raise _malformed(
                path, f"{path} is not a mapping of keys to values.", line, "Write lines of the form key: value."
            )
        return _read_nodes(path, loader, node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        raise _malformed(path, f"{path} is not YAML: {_yaml_reason(error)}.", line, _yaml_remedy(text, line)) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise _malformed(path, f"{path} is not YAML: {error}.", None, "Correct the file.") from error
    finally:
        loader.dispose()


def _yaml_reason(error: yaml.MarkedYAMLError) -> str:
    parts = [part for part in (error.context, error.problem) if part]
    return ", ".join(parts)


def _yaml_remedy(text: str, line: int | None) -> str:
    lines = text.splitlines()
    shown = lines[line - 1] if line is not None and line <= len(lines) else ""
    if any(mark.startswith(("<<<<<<<", ">>>>>>>")) for mark in lines):
        return "The file holds merge-conflict marks (<<<<<<<): resolve the conflict first."
    if "\t" in shown:
        return "The line holds a tab; indent with blanks."
    return (
        f"Look at {shown.strip()!r}: check its indentation, quotes and colons."
        if shown.strip()
        else "Correct the file."
    )


def _read_nodes(path: Path, loader: Any, node: yaml.MappingNode) -> ReadFile:
    entries: list[Entry] = []
    problems: list[Problem] = []
    first_lines: dict[str, int] = {}
    for key_node, value_node in _pairs(loader, node):
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise _malformed(path, f"Line {line} of {path} has a key that is no plain name.", line,
                             "Write key: value; fill in placeholders such as {{NAME}}.")  # fmt: skip
        key = key_node.value
        if key in first_lines:
            problems.append(_duplicate(path, key, line, first_lines[key]))
            continue
        first_lines[key] = line
        entries_or_problem = _read_pair(path, loader, key, value_node, line)
        if isinstance(entries_or_problem, Problem):
            problems.append(entries_or_problem)
        else:
            entries.append(entries_or_problem)
    return ReadFile(entries=tuple(entries), problems=tuple(problems))


def _pairs(loader: Any, node: yaml.MappingNode) -> list[tuple[yaml.Node, yaml.Node]]:
    # YAML's merge key `<<: *anchor`: its pairs yield to the mapping's own.
    own = [pair for pair in node.value if pair[0].tag != "tag:yaml.org,2002:merge"]
    if len(own) == len(node.value):
        return own
    names = {key.value for key, _ in own if isinstance(key, yaml.ScalarNode)}
    loader.flatten_mapping(node)
    return [pair for pair in node.value if pair in own or pair[0].value not in names]


def _read_pair(path: Path, loader: Any, key: str, node: yaml.Node, line: int) -> Entry | Problem:
    text = node.value if isinstance(node, yaml.ScalarNode) else None
    try:
        value = loader.construct_object(node, deep=True)
    except yaml.MarkedYAMLError as error:
        return _unreadable(path, key, line, _yaml_reason(error))
    except (ValueError, TypeError) as error:
        if text is None:
            return _unreadable(path, key, line, str(error))
        # `!!float $RATE`, or a name that looks like a date: text, to be read as the key's type.
        value = text
    return Entry(key=key, value=value, text=text, file=str(path), line=line)


def _unreadable(path: Path, key: str, line: int, reason: str) -> Problem:
    return Problem(
        code="config.value_invalid",
        message=f"The value of {key} cannot be read: {reason}.",
        remedy="Write a plain value; fill in placeholders such as {{NAME}}, and put text with braces in quotes.",
        where=Where(file=str(path), line=line, key=key),
    )


def _duplicate(path: Path, key: str, line: int, first: int) -> Problem:
    return Problem(
        code="config.key_duplicate",
        message=f"The key {key} stands twice, on lines {first} and {line}.",
        remedy="Keep one of them.",
        where=Where(file=str(path), line=line, key=key),
    )


def _read_json(path: Path, text: str) -> ReadFile:
    try:
        is_object = isinstance(json.loads(text), dict)
        pairs = list(_json_pairs(text)) if is_object else []
    except json.JSONDecodeError as error:
        raise _malformed(path, f"{path} is not JSON: {error.msg}.", error.lineno, "Correct the file.") from error
    except RecursionError as error:
        raise _malformed(path, f"{path} is nested too deeply.", None, "Correct the file.") from error
    if not is_object:
        raise _malformed(path, f"{path} is not a JSON object.", 1, 'Write {"key": value, …}.')
    entries: list[Entry] = []
    problems: list[Problem] = []
    first_lines: dict[str, int] = {}
    for key, value, line in pairs:
        if key in first_lines:
            problems.append(_duplicate(path, key, line, first_lines[key]))
            continue
        first_lines[key] = line
        entries.append(Entry(key=key, value=value, file=str(path), line=line))
    return ReadFile(entries=tuple(entries), problems=tuple(problems))


_BLANKS = re.compile(r"[\s,:{}]*")


def _json_pairs(text: str) -> Iterator[tuple[str, Any, int]]:
    """Yield the pairs of the outer object of valid JSON with their lines."""
    decoder = json.JSONDecoder()
    position = _skip(text, 0)
    while position < len(text) and text[position] == '"':
        line = text.count("\n", 0, position) + 1
        key, position = decoder.raw_decode(text, position)
        position = text.index(":", position) + 1
        while text[position].isspace():
            position += 1
        value, position = decoder.raw_decode(text, position)
        yield key, value, line
        position = _skip(text, position)


def _skip(text: str, position: int) -> int:
    match = _BLANKS.match(text, position)
    return match.end() if match else position


def merge_layers(layers: Sequence[Sequence[Entry]]) -> list[Entry]:
    """Let later layers replace earlier ones key by key; dotted keys (`a.b`) change one field of a mapping."""
    merged: dict[str, Entry] = {}
    for entry in (entry for layer in layers for entry in layer):
        outer, dot, inner = entry.key.partition(".")
        if not dot:
            merged[entry.key] = entry
            continue
        earlier = merged.get(outer)
        base = dict(earlier.value) if earlier is not None and isinstance(earlier.value, Mapping) else {}
        merged[outer] = Entry(key=outer, value=_with_field(base, inner.split("."), entry.value), file=entry.file,
                              line=entry.line, written_as=entry.written_as)  # fmt: skip
    return list(merged.values())


def _with_field(base: Mapping[str, Any], names: Sequence[str], value: Any) -> dict[str, Any]:
    changed = dict(base)
    if len(names) == 1:
        changed[names[0]] = value
        return changed
    below = changed.get(names[0])
    changed[names[0]] = _with_field(below if isinstance(below, Mapping) else {}, names[1:], value)
    return changed
