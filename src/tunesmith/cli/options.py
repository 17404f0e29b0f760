# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Splits the words after a verb into the command's own options and the configuration's keys."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from tunesmith.core.errors import refusal

RUN_VERBS = ("train", "chat", "export", "score", "check", "inspect", "prepare", "verify")
_FLAGS = {"--json": "--json", "--config_only": "--config_only", "--config-only": "--config_only"}
_HELP = ("-h", "--help")
# Flags of single verbs, by the names of their values.
_FLAGS_OF: Mapping[str, tuple[str, ...]] = {
    "data": ("source", "target", "overwrite", "allow_missing", "media_dir", "columns", "rename", "cells"),
    "score": ("output",),
    "models": ("name",),
    "inspect": ("rows", "first", "longest", "sample", "finding", "html"),
    "render": (
        "model_name_or_path",
        "template",
        "messages",
        "tools",
        "add_generation_prompt",
        "template_kwargs",
        "raw",
        "date",
        "bos_token",
        "eos_token",
        "pad_token",
        "unk_token",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a command was asked: its file, if any, the words that set keys, and `flags` of its own by name."""

    verb: str
    file: Path | None = None
    words: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    wants_json: bool = False
    wants_help: bool = False
    is_config_only: bool = False
    flags: Mapping[str, Any] = field(default_factory=dict)


class _Parser(argparse.ArgumentParser):
    """argparse that refuses by a coded error instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise refusal("cli.word_unknown", f"{message[:1].upper()}{message[1:]}.", f"See `{self.prog} --help`.")


def read_options(verb: str, words: Sequence[str]) -> Options:
    """Read the words after a verb, or refuse."""
    if verb not in RUN_VERBS and set(words) & set(_HELP):
        return Options(verb=verb, wants_help=True)
    own, keys = split_words(words, _FLAGS_OF.get(verb, ())) if verb in RUN_VERBS else (list(words), [])
    asked = parser_of(verb).parse_args(own)
    return Options(
        verb=verb,
        file=asked.config or asked.file if verb in RUN_VERBS else None,
        words=tuple(keys),
        topics=tuple(asked.topic) if verb == "help" else (),
        wants_json=asked.json,
        wants_help=asked.help,
        is_config_only=verb == "check" and asked.config_only,
        flags={name: getattr(asked, name) for name in _FLAGS_OF.get(verb, ())},
    )


def parser_of(verb: str) -> argparse.ArgumentParser:
    """Build the parser of a verb's own options."""
    parser = _Parser(prog=f"tunesmith {verb}", add_help=False, allow_abbrev=False)
    parser.add_argument(*_HELP, action="store_true", help="show the command's options and keys")
    # chat takes the word only to refuse it by name.
    json_help = argparse.SUPPRESS if verb == "chat" else "print one JSON object on stdout"
    parser.add_argument("--json", action="store_true", help=json_help)
    if verb == "verify":
        parser.add_argument("what", choices=("template",), help="what to verify")
    if verb in RUN_VERBS:
        parser.add_argument("file", nargs="?", type=Path, help="configuration file, YAML or JSON")
        parser.add_argument("--config", type=Path, metavar="FILE", help="the same")
    if verb == "check":
        parser.add_argument("--config_only", action="store_true", help="resolve the file; read neither model nor data")
    if verb == "help":
        parser.add_argument("topic", nargs="*", help="a command, a key, or an error code")
    if verb == "models":
        parser.add_argument("name", nargs="?", help="a family, model type, template, model's name or folder; else all")
    if verb == "data":
        _add_data_flags(parser)
    if verb == "score":
        parser.add_argument("--output", metavar="FILE", help="JSONL file to write; else scores.jsonl in output_dir")
    if verb == "inspect":
        _add_inspect_flags(parser)
    if verb == "render":
        _add_render_flags(parser)
    return parser


def _add_data_flags(parser: argparse.ArgumentParser) -> None:
    """Add what `tunesmith data convert` takes."""
    parser.add_argument("action", choices=("convert",), help="what to do with the data")
    parser.add_argument("source", type=Path, help="file to read: csv, tsv, json, jsonl, parquet, …")
    parser.add_argument("target", type=Path, help="file to write; its ending says which type")
    parser.add_argument("--overwrite", action="store_true", help="replace the target if it exists")
    parser.add_argument(
        "--media_dir", "--media-dir", type=Path, metavar="DIR", help="folder of media paths; else the source's folder"
    )
    parser.add_argument(
        "--allow_missing", "--allow-missing", action="store_true", help="convert although media files are missing"
    )
    parser.add_argument("--columns", type=_names, default=(), metavar="A,B", help="take these columns only")
    parser.add_argument("--rename", type=_pairs, default={}, metavar="OLD=NEW,…", help="rename columns")
    parser.add_argument(
        "--cells", type=_pairs, default={}, metavar="COLUMN=KIND,…",
        help="what cells of text hold: json (JSON text), absent or null (what an empty cell stands for), text",
    )  # fmt: skip


def _add_inspect_flags(parser: argparse.ArgumentParser) -> None:
    """Add what `tunesmith inspect` takes: which rows are shown, and where a page is written."""
    parser.add_argument("--rows", type=_numbers, default=(), metavar="N,N", help="show these records of the files")
    parser.add_argument("--first", type=_number, default=2, metavar="N", help="show the first rows (2)")
    parser.add_argument("--longest", type=_number, default=1, metavar="N", help="show the longest rows (1)")
    parser.add_argument("--sample", type=_number, default=1, metavar="N", help="show rows drawn by `seed` (1)")
    parser.add_argument("--finding", metavar="CODE", help="show rows of this finding too")
    parser.add_argument("--html", metavar="FILE", help="write a page that needs no other file")


def _add_render_flags(parser: argparse.ArgumentParser) -> None:
    """Add what `tunesmith render` takes: a vocabulary or its special tokens, a template, a conversation."""
    add = parser.add_argument
    add("--model_name_or_path", "--model-name-or-path", metavar="FOLDER", help="model or tokenizer; else text only")
    add("--template", metavar="NAME_OR_FILE", help="catalog name or .jinja file; else the tokenizer's own")
    add("--messages", required=True, metavar="FILE", help="JSON: a list of messages, or an object with tools too")
    add("--tools", metavar="FILE", help="JSON: a list of tools")
    add("--add_generation_prompt", "--add-generation-prompt", action="store_true", help="ask for the next answer")
    add("--template_kwargs", "--template-kwargs", type=_mapping, metavar="JSON", help="variables of the template")
    add("--raw", action="store_true", help="pass messages and arguments as they are, nothing escaped")
    add("--date", metavar="ISO", help="date or date-time that the template prints")
    for token in ("bos", "eos", "pad", "unk"):
        add(f"--{token}_token", f"--{token}-token", metavar="TEXT", help=f"{token} token of the template")


def _mapping(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON object")
    return value


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows")
    return int(text)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(_number(part) for part in _names(text))


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _pairs(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in _names(text)]
    if any(not name or not value for name, _, value in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of name=value")
    return {name.strip(): value.strip() for name, _, value in pairs}


def split_words(words: Sequence[str], flags: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Take the command's own options and the file out of the words; the rest sets keys. `flags` take a value each."""
    own: list[str] = []
    keys: list[str] = []
    remaining = list(words)
    valued = [f"--{name}" for name in ("config", *flags)]
    while remaining:
        word = remaining.pop(0)
        if word in _FLAGS or word in _HELP:
            own.append(_FLAGS.get(word, word))
        elif word.partition("=")[0] in valued:
            own += [word, remaining.pop(0)] if "=" not in word and remaining else [word]
        elif not keys and not word.startswith("-") and "=" not in word:
            own.append(word)
        else:
            keys.append(word)
    return own, keys
