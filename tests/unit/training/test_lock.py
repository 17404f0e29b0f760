# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A folder has one live run at a time; the lock of a dead one does not count."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tunesmith.core.errors import TunesmithError
from tunesmith.training.lock import LOCK_FILE, hold_lock, live_owner


def write_lock(folder: Path, *, pid: int, started: float, host: str = socket.gethostname()) -> None:
    text = json.dumps({"pid": pid, "started": started, "host": host})
    (folder / LOCK_FILE).write_text(text, encoding="utf-8")


def test_the_lock_lives_as_long_as_its_block(tmp_path: Path) -> None:
    with hold_lock(tmp_path / "run"):
        owner = json.loads((tmp_path / "run" / LOCK_FILE).read_text(encoding="utf-8"))
        assert owner["pid"] == os.getpid()
    assert not (tmp_path / "run" / LOCK_FILE).exists()


def test_a_live_process_keeps_others_out(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        write_lock(tmp_path, pid=other.pid, started=psutil.Process(other.pid).create_time())
        with pytest.raises(TunesmithError, match=rf"output_in_use.*process {other.pid}"), hold_lock(tmp_path):
            pass
        write_lock(tmp_path, pid=other.pid, started=1.0)  # the number was given to a new process
        assert live_owner(tmp_path) is None
    finally:
        other.kill()
        other.wait()
    write_lock(tmp_path, pid=other.pid, started=2.0)
    with hold_lock(tmp_path):
        pass


def test_a_lock_of_another_machine_counts_as_live(tmp_path: Path) -> None:
    write_lock(tmp_path, pid=1, started=0.0, host="elsewhere")
    assert live_owner(tmp_path) == "process 1 on elsewhere"


def test_a_lock_cut_off_by_a_kill_counts_for_nothing_after_a_moment(tmp_path: Path) -> None:
    path = tmp_path / LOCK_FILE
    path.write_text('{"pid": 1', encoding="utf-8")
    assert live_owner(tmp_path) == "a process that is just starting"
    os.utime(path, (1.0, 1.0))
    assert live_owner(tmp_path) is None
    with hold_lock(tmp_path):
        assert json.loads(path.read_text(encoding="utf-8"))["pid"] == os.getpid()
