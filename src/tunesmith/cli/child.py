# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The process that does a job: reads what to do from one file, writes how it ended to another.

Its stdout is the parent's stderr, so that nothing a library prints reaches the results.
"""

import faulthandler
import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from tunesmith.cli.faults import problems_of
from tunesmith.cli.packages import RECOGNISED, needless_quantisers
from tunesmith.cli.report import show_problems, to_plain
from tunesmith.config.load import load_config
from tunesmith.config.resolve import Source
from tunesmith.config.run import RunConfig
from tunesmith.core.errors import ExitCode, Problem, TunesmithError
from tunesmith.core.files import write_text_atomic
from tunesmith.core.optional import import_by_name
from tunesmith.core.quick_imports import quick_imports, without_packages
from tunesmith.core.report import clear_warnings, collected_warnings, tell_warnings_to

# They report at import, in lines of their own, which of their GPU kernels this machine has no use for.
_TALKATIVE = ("bitsandbytes", "torchao", "torch.utils._pytree")


def main(words: list[str]) -> int:
    """Do the job described in the first file and write its outcome into the second."""
    faulthandler.enable()
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    # The parent passes interrupts on by these, also where it was itself started with them ignored.
    for name in ("SIGINT", "SIGBREAK"):
        if name in signal.Signals.__members__:
            signal.signal(signal.Signals[name], signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    job = json.loads(Path(words[0]).read_text(encoding="utf-8"))
    tell_warnings_to(lambda problem: show_problems([problem]))
    outcome = do_job(job)
    write_text_atomic(Path(words[1]), json.dumps(outcome, allow_nan=False))
    return int(ExitCode.OK)


def do_job(job: dict[str, Any]) -> dict[str, Any]:
    """Resolve the configuration, run the job's module, and describe how it ended in plain JSON values."""
    clear_warnings()
    config: RunConfig | None = None
    result: dict[str, Any] = {}
    problems: tuple[Problem, ...] = ()
    try:
        source: Source = Path(job["file"]) if job["file"] is not None else {}
        with quick_imports():
            config = load_config(source, command=job["command"], overrides=job["words"])
        with without_packages(needless_quantisers(config.resolved.values)):
            with quick_imports(), without_packages(RECOGNISED):
                module = import_by_name(job["module"])
            result = dict(module.run(config, **job.get("arguments", {})))
    except TunesmithError as error:
        problems, result = error.problems, dict(error.result)
    except (Exception, KeyboardInterrupt, SystemExit) as error:  # the border of the process: everything is reported
        problems = problems_of(error, _folder_of(config))
    warnings = (*(config.warnings if config is not None else ()), *collected_warnings())
    return {
        "result": to_plain(result),
        "warnings": [problem.to_json() for problem in dict.fromkeys(warnings)],
        "told": [problem.to_json() for problem in collected_warnings()],
        "problems": [problem.to_json() for problem in problems],
    }


def _folder_of(config: RunConfig | None) -> Path | None:
    folder = config.run.output_dir if config is not None else None
    return Path(folder) if folder else None


def _end_with_parent() -> None:
    # The parent holds the other end of stdin open; when it is gone, nobody will take the result or stop the job.
    # Not through sys.stdin: its lock, held by a thread that waits, would stop the interpreter from ending.
    while os.read(0, 1):
        pass
    if hasattr(os, "killpg"):
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(int(ExitCode.INTERRUPTED))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
