# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The supervised child: its result, warnings and errors come back; lost memory, crashes and interrupts get a code."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tunesmith.cli.process import run_in_child
from tunesmith.cli.report import Outcome, show_outcome
from tunesmith.core.errors import ExitCode

_HEADER = """
import errno, os, signal, sys, time
from pathlib import Path
from tunesmith.core.errors import Problem, TunesmithError, Where, warning
from tunesmith.core.report import emit_warning
def run(config):
    folder = Path(config.run.output_dir)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an output folder, and let jobs written by `job_of` be found."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def job_of(folder: Path, body: str) -> dict[str, object]:
    """Write a job module with this body beside the folder, and describe the job."""
    text = _HEADER + "".join(f"    {line}\n" for line in body.strip().splitlines())
    (folder.parent / "job_of_this_test.py").write_text(text, encoding="utf-8")
    words = ["model_name_or_path=m", "dataset=d", f"output_dir={folder}", "--lora_rank=4", "finetuning_type=full"]
    return {"module": "job_of_this_test", "command": "train", "file": None, "words": words}


def outcome_of(folder: Path, body: str) -> Outcome:
    return run_in_child(job_of(folder, body))


def test_result_and_warnings_come_back_whatever_the_job_prints(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    outcome = outcome_of(
        folder,
        """
print("noise of a library")
os.write(1, b"noise of its C part\\n")
emit_warning(warning("environment.package_broken", "Broken.", "Mend it.", key="seed"))
return {"seed": config.run.seed, "torch": "torch" in sys.modules, "folder": folder, "nan": float("nan")}
""",
    )
    assert outcome.result == {"seed": 42, "torch": False, "folder": str(folder), "nan": None}
    assert [problem.code for problem in outcome.warnings] == ["config.keys_inactive", "environment.package_broken"]
    assert outcome.exit_code == 0
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "noise of a library" in captured.err
    assert "noise of its C part" in captured.err
    assert "Fatal Python error" not in captured.err


def test_coded_errors_come_back_with_what_was_found(folder: Path) -> None:
    outcome = outcome_of(
        folder,
        """
where = Where.of_rows([3, 5], file="a.json", dataset="a")
raise TunesmithError([Problem(code="data.role_unknown", message="m", remedy="r", where=where)], result={"rows": 7})
""",
    )
    assert outcome.exit_code == ExitCode.DATA
    assert outcome.result == {"rows": 7}
    assert outcome.problems[0].where.rows == (3, 5)


@pytest.mark.parametrize(
    ("body", "code", "exit_code"),
    [
        ("raise MemoryError", "resources.memory_exhausted", ExitCode.RESOURCES),
        ("raise OSError(errno.ENOSPC, 'No space left on device')", "resources.disk_full", ExitCode.RESOURCES),
        ("raise KeyboardInterrupt", "cli.run_interrupted", ExitCode.INTERRUPTED),
        ("sys.exit(3)", "internal.error_unexpected", ExitCode.INTERNAL),
        ("os._exit(3)", "internal.error_unexpected", ExitCode.INTERNAL),
    ],
)
def test_uncoded_ends_get_a_code(folder: Path, body: str, code: str, exit_code: ExitCode) -> None:
    outcome = outcome_of(folder, body)
    assert [problem.code for problem in outcome.problems] == [code]
    assert outcome.exit_code == exit_code


def test_an_unforeseen_error_names_the_file_of_its_traceback(folder: Path) -> None:
    outcome = outcome_of(folder, "raise ZeroDivisionError('by nought')")
    assert outcome.exit_code == ExitCode.INTERNAL
    (file,) = folder.iterdir()
    assert str(file) in outcome.problems[0].message
    assert "ZeroDivisionError: by nought" in file.read_text(encoding="utf-8")


def test_a_warning_is_shown_when_it_comes_and_only_once(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    outcome = outcome_of(
        folder,
        """
from tunesmith.core.errors import warning
from tunesmith.core.report import emit_warning
emit_warning(warning("config.keys_inactive", "Beware.", "Look."))
print("the work begins", flush=True)
return {}
""",
    )
    show_outcome(outcome, wants_json=False)
    shown = capfd.readouterr().err
    assert shown.count("Beware.") == 1
    assert shown.index("Beware.") < shown.index("the work begins")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_child_killed_for_memory_is_reported_with_its_peak(folder: Path) -> None:
    outcome = outcome_of(
        folder,
        """
held = bytearray(300 * 2**20)
time.sleep(1)
os.kill(os.getpid(), signal.SIGKILL)
""",
    )
    (problem,) = outcome.problems
    assert (problem.code, outcome.exit_code) == ("resources.memory_exhausted", ExitCode.RESOURCES)
    peak = float(problem.message.partition("peak was ")[2].partition(" GiB")[0])
    assert 0.29 < peak < 1


@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
class TestInterrupts:
    """Signals to the parent: the first reaches the job, the second ends it."""

    PARENT = (
        "import json, sys\n"
        "from tunesmith.cli.process import run_in_child\n"
        "outcome = run_in_child(json.loads(sys.argv[1]))\n"
        "print(json.dumps([outcome.exit_code, dict(outcome.result)]))\n"
    )

    def start(self, folder: Path, body: str) -> "tuple[subprocess.Popen[str], int]":
        """Start a parent in a process of its own; wait until its job runs, and give the job's process id."""
        job = job_of(folder, '(folder / "pid").write_text(str(os.getpid()), encoding="utf-8")\n' + body.strip())
        parent = subprocess.Popen(
            [sys.executable, "-c", self.PARENT, json.dumps(job)], stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        deadline = time.monotonic() + 60
        while not (folder / "pid").exists() or not (folder / "pid").read_text(encoding="utf-8"):
            assert time.monotonic() < deadline, "the job did not start"
            time.sleep(0.05)
        time.sleep(0.2)
        return parent, int((folder / "pid").read_text(encoding="utf-8"))

    def test_the_first_interrupt_lets_the_job_finish_its_work(self, folder: Path) -> None:
        body = """
try:
    time.sleep(60)
except KeyboardInterrupt:
    (folder / "saved").touch()
    raise
"""
        parent, _ = self.start(folder, body)
        parent.send_signal(signal.SIGINT)
        out, _ = parent.communicate(timeout=60)
        assert json.loads(out)[0] == ExitCode.INTERRUPTED
        assert (folder / "saved").exists()

    def test_the_second_interrupt_ends_the_whole_group(self, folder: Path) -> None:
        body = """
import subprocess
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
(folder / "worker").write_text(str(worker.pid), encoding="utf-8")
signal.signal(signal.SIGINT, signal.SIG_IGN)
(folder / "deaf").touch()
time.sleep(60)
"""
        parent, pid = self.start(folder, body)
        while not (folder / "deaf").exists():
            time.sleep(0.05)
        parent.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert psutil.pid_exists(pid)
        parent.send_signal(signal.SIGINT)
        out, _ = parent.communicate(timeout=60)
        assert json.loads(out)[0] == ExitCode.INTERRUPTED
        assert wait_until_gone(pid)
        assert wait_until_gone(int((folder / "worker").read_text(encoding="utf-8")))

    def test_a_killed_parent_takes_its_job_with_it(self, folder: Path) -> None:
        parent, pid = self.start(folder, "time.sleep(60)")
        parent.kill()
        parent.communicate(timeout=60)
        assert wait_until_gone(pid)


def wait_until_gone(pid: int) -> bool:
    """Wait for a process to end; a zombie counts as ended."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False
