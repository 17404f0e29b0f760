# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a training job to its end, and a second time with many kills (SIGKILL) and resumes between; a script of tests.

Torch and the job are imported once; every start is a fork of this process, which itself never computes.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tunesmith.config.load import load_config
from tunesmith.jobs import train


def start(keys: Mapping[str, Any], result: Path) -> int:
    """Fork a process that does the job and writes its result; give its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with result.with_suffix(".log").open("ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            outcome = train.run(load_config(keys, command="train"))
            result.write_text(json.dumps(outcome), encoding="utf-8")
            code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def wait_for_end(child: int) -> int:
    """Wait for a process and give its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_at(child: int, moment: Callable[[], bool], seconds: float) -> bool:
    """Kill a process some time after a moment has come; False when it had ended before."""
    while not moment():
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.002)
    time.sleep(seconds)
    if os.waitpid(child, os.WNOHANG)[0]:
        return False
    os.kill(child, signal.SIGKILL)
    return wait_for_end(child) == -signal.SIGKILL


def newest_step(folder: Path) -> int:
    """Give the step of the newest checkpoint; 0 without one."""
    return max((int(path.name.removeprefix("checkpoint-")) for path in folder.glob("checkpoint-*")), default=0)


def has_step(folder: Path, step: int) -> bool:
    """Say whether a run has come to a step."""
    return newest_step(folder) >= step


def time_straight_run(keys: Mapping[str, Any], folder: Path, result: Path) -> tuple[float, float]:
    """Run to the end; give the seconds until the first checkpoint and until the end."""
    began = time.monotonic()
    child = start({**keys, "output_dir": str(folder)}, result)
    until_first = 0.0
    while not os.waitpid(child, os.WNOHANG)[0]:
        if not until_first and (folder / "checkpoint-1").exists():
            until_first = time.monotonic() - began
        time.sleep(0.01)
    return until_first, time.monotonic() - began


def main(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Do both runs and tell what the kills met."""
    folder, keys = Path(plan["folder"]), plan["keys"]
    draw = random.Random(plan["seed"])
    until_first, until_end = time_straight_run(keys, folder / "straight", folder / "straight.json")
    step_seconds = (until_end - until_first) / plan["steps"]
    killed = {**keys, "output_dir": str(folder / "killed"), "resume_from_checkpoint": True}
    met: list[dict[str, Any]] = []
    while len(met) < plan["kills"]:
        # Progress is counted in steps, not in seconds, so that the run cannot end before its last kill on any machine.
        wanted = newest_step(folder / "killed") + draw.choice((1, 1, 2))
        child = start(killed, folder / "killed.json")
        if draw.random() < 0.2:  # while it starts
            is_killed = kill_at(child, lambda: True, draw.uniform(0.0, until_first))
        else:
            moment = partial(has_step, folder / "killed", wanted)
            is_killed = kill_at(child, moment, draw.uniform(0.0, step_seconds))
        if not is_killed:
            break
        names = sorted(path.name for path in (folder / "killed").iterdir()) if (folder / "killed").exists() else []
        checkpoints = [name for name in names if name.startswith("checkpoint-")]
        met.append({"checkpoints": len(checkpoints), "was_saving": any(".partial-" in name for name in names)})
    code = wait_for_end(start(killed, folder / "killed.json"))
    return {"kills": met, "code": code, "seconds": [until_first, until_end]}


if __name__ == "__main__":
    plan_file, report_file = map(Path, sys.argv[1:])
    report = main(json.loads(plan_file.read_text(encoding="utf-8")))
    report_file.write_text(json.dumps(report), encoding="utf-8")
