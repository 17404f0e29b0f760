# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The command line: finds the verb, resolves its configuration, starts its job, and shows how it ended."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from tunesmith import __version__
from tunesmith.cli.faults import problems_of
from tunesmith.cli.help import VERBS, overview, topic_json, topic_page, verb_page
from tunesmith.cli.options import Options, read_options
from tunesmith.cli.process import NO_TELEMETRY, run_in_child
from tunesmith.cli.report import Outcome, screen_of, show_outcome, show_problems
from tunesmith.config.index import load_index
from tunesmith.config.resolve import Command, Source, named_plugins, resolve
from tunesmith.config.words import read_words
from tunesmith.core.errors import ExitCode, Problem, TunesmithError, refusal
from tunesmith.core.names import nearest
from tunesmith.core.optional import import_by_name
from tunesmith.core.report import clear_warnings, collected_warnings

if TYPE_CHECKING:
    from tunesmith.config.run import RunConfig


def main(words: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    arguments = list(sys.argv[1:] if words is None else words)
    clear_warnings()
    try:
        return _run(arguments)
    except BrokenPipeError:
        # The reader of stdout is gone (`tunesmith help | head`): end quietly, and keep the interpreter quiet too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.OK)
    except TunesmithError as error:
        outcome = Outcome(result=error.result, warnings=collected_warnings(), problems=error.problems)
    except (Exception, KeyboardInterrupt) as error:  # the border of the program: everything is reported
        outcome = Outcome(warnings=collected_warnings(), problems=problems_of(error))
    return show_outcome(outcome, wants_json="--json" in arguments and arguments[0] != "chat")


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(overview())
        return int(ExitCode.OK)
    if words[0] in ("-V", "--version"):
        words = ["version", *words[1:]]
    if words[0] not in VERBS:
        raise refusal("cli.verb_unknown", f"There is no command {words[0]!r}.",
                      f"Choose one of: {', '.join(VERBS)}." + nearest(words[0], VERBS))  # fmt: skip
    options = read_options(words[0], words[1:])
    if options.wants_help:
        print(verb_page(options.verb, load_index()))
        return int(ExitCode.OK)
    return _COMMANDS[options.verb](options)


def _version(options: Options) -> int:
    return _show_text(options, f"tunesmith {__version__}", {"version": __version__})


def _help(options: Options) -> int:
    if not options.topics:
        return _show_text(options, overview(), {"version": __version__, "commands": VERBS})
    index = load_index()
    text = "\n\n".join(topic_page(topic, index) for topic in options.topics)
    return _show_text(options, text, {"topics": [topic_json(topic, index) for topic in options.topics]})


def _show_text(options: Options, text: str, data: Mapping[str, Any]) -> int:
    if options.wants_json:
        return show_outcome(Outcome(result=data), wants_json=True)
    print(text)
    return int(ExitCode.OK)


def _env(options: Options) -> int:
    result = import_by_name("tunesmith.jobs.env").run()
    return show_outcome(Outcome(result=result, warnings=collected_warnings()), wants_json=options.wants_json)


def _data(options: Options) -> int:
    job = import_by_name("tunesmith.jobs.data_convert")
    result = job.run(job.ConvertRequest(**options.flags))
    return show_outcome(Outcome(result=result, warnings=collected_warnings()), wants_json=options.wants_json)


def _chat(options: Options) -> int:
    if options.wants_json:
        raise refusal("cli.json_refused", "chat is a conversation and has no JSON form.", "Leave --json out.")
    _check_keys(options)
    os.environ.update({name: value for name, value in NO_TELEMETRY.items() if name not in os.environ})
    result = import_by_name("tunesmith.jobs.chat").run(_load(options))
    return show_outcome(Outcome(result=result, warnings=collected_warnings()), wants_json=False)


def _job(options: Options) -> int:
    shown = _check_keys(options)
    return show_outcome(run_in_child(_described(options)), wants_json=options.wants_json, already_shown=shown)


def _described(options: Options, **arguments: Any) -> dict[str, Any]:
    """Describe the job for its process."""
    return {
        "module": f"tunesmith.jobs.{options.verb}",
        "command": options.verb,
        "file": str(options.file) if options.file is not None else None,
        "words": list(options.words),
        "arguments": arguments,
    }


def _score(options: Options) -> int:
    shown = _check_keys(options)
    outcome = run_in_child(_described(options, output=options.flags["output"]))
    return show_outcome(outcome, wants_json=options.wants_json, already_shown=shown)


def _inspect(options: Options) -> int:
    shown = _check_keys(options)
    show = {name: value for name, value in options.flags.items() if name != "html"}
    screen = None if options.wants_json else screen_of(sys.stdout)
    outcome = run_in_child(_described(options, show=show, html=options.flags["html"], screen=screen))
    text = outcome.result.get("text")
    if text is None:
        return show_outcome(outcome, wants_json=options.wants_json, already_shown=shown)
    # The text tells the findings with their remedies, so they are not repeated as paragraphs.
    print(text)
    page = {"html": outcome.result["html"]} if "html" in outcome.result else {}
    return show_outcome(replace(outcome, result=page), wants_json=False, already_shown=(*shown, *outcome.problems))


def _render(options: Options) -> int:
    if options.flags["model_name_or_path"] is None and options.flags["template"] is None:
        raise refusal("cli.word_unknown", "render needs a tokenizer's folder or a template.",
                      "Give --model_name_or_path FOLDER, --template NAME_OR_FILE, or both.")  # fmt: skip
    # A template alone is rendered to text without the libraries of tokenizers, which take seconds to load.
    module = "render" if options.flags["model_name_or_path"] is not None else "render_text"
    result = import_by_name(f"tunesmith.jobs.{module}").run(options.flags)
    outcome = Outcome(result=result, warnings=collected_warnings())
    if options.wants_json:
        return show_outcome(outcome, wants_json=True)
    print(result["text"])
    return show_outcome(Outcome(warnings=outcome.warnings), wants_json=False)


def _models(options: Options) -> int:
    result = import_by_name("tunesmith.jobs.models").run(options.flags["name"])
    text = result.pop("text")
    if options.wants_json:
        return show_outcome(Outcome(result=result, warnings=collected_warnings()), wants_json=True)
    print(text)
    return int(ExitCode.OK)


def _verify(options: Options) -> int:
    shown = _check_keys(options)
    outcome = run_in_child(_described(options))
    text = outcome.result.get("text")
    if options.wants_json or text is None:
        return show_outcome(outcome, wants_json=options.wants_json, already_shown=shown)
    print(text)
    return show_outcome(replace(outcome, result={}), wants_json=False, already_shown=shown)


def _check(options: Options) -> int:
    if not options.is_config_only:
        return _job(options)
    shown = _check_keys(options)
    config = _load(options)
    result = {"job": config.job, "keys": {**config.resolved.values, **config.resolved.choices}}
    outcome = Outcome(result=result, warnings=config.warnings)
    return show_outcome(outcome, wants_json=options.wants_json, already_shown=shown)


def _check_keys(options: Options) -> tuple[Problem, ...]:
    """Check the configuration from the index alone and show its warnings; plugins wait for the job's process."""
    if options.file is None and not options.words:
        raise refusal("cli.file_missing", f"{options.verb} needs a configuration file, or keys.",
                      f"Write `tunesmith {options.verb} FILE`, or see `tunesmith {options.verb} --help`.")  # fmt: skip
    index = load_index()
    entries = read_words(options.words, index)
    if named_plugins(_source(options), entries):
        return ()
    resolved = resolve(_source(options), index, command=_command(options), overrides=entries)
    show_problems(resolved.warnings)
    return resolved.warnings


def _load(options: Options) -> "RunConfig":
    # Imported late: the typed sections need pydantic, which help and errors do without.
    load_config = import_by_name("tunesmith.config.load").load_config
    config: RunConfig = load_config(_source(options), command=_command(options), overrides=options.words)
    return config


def _source(options: Options) -> Source:
    return options.file if options.file is not None else {}


def _command(options: Options) -> Command:
    return cast(Command, options.verb)


_COMMANDS: Mapping[str, Callable[[Options], int]] = {
    "train": _job,
    "chat": _chat,
    "export": _job,
    "score": _score,
    "check": _check,
    "data": _data,
    "inspect": _inspect,
    "render": _render,
    "verify": _verify,
    "prepare": _job,
    "models": _models,
    "env": _env,
    "version": _version,
    "help": _help,
}
