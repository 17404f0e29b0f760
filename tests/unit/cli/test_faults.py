# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Unforeseen exceptions get a code: memory, disk, interruption, or our own mistake with its traceback on disk."""

import errno
from pathlib import Path

import pytest

from tunesmith.cli.faults import problems_of
from tunesmith.core.errors import ExitCode, refusal


class OutOfMemoryError(RuntimeError):
    """Named as torch names it."""


def caused(error: Exception, cause: Exception) -> Exception:
    """Raise one error from another, and give it."""
    try:
        raise error from cause
    except type(error) as raised:
        return raised


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
        caused(ValueError("while collating"), MemoryError()),
    ],
)
def test_lost_memory(error: Exception) -> None:
    (problem,) = problems_of(error)
    assert (problem.code, problem.exit_code) == ("resources.memory_exhausted", ExitCode.RESOURCES)
    assert "per_device_train_batch_size" in problem.remedy


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/out/model.safetensors"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
        caused(RuntimeError("cannot save"), OSError(errno.ENOSPC, "No space left on device")),
    ],
)
def test_a_full_disk(error: Exception, tmp_path: Path) -> None:
    (problem,) = problems_of(error, tmp_path)
    assert (problem.code, problem.exit_code) == ("resources.disk_full", ExitCode.RESOURCES)
    assert problem.where.file in ("/out/model.safetensors", str(tmp_path))


def test_an_interruption_and_a_coded_error() -> None:
    assert problems_of(KeyboardInterrupt())[0].exit_code == ExitCode.INTERRUPTED
    error = refusal("config.key_missing", "No model.", "Name one.")
    assert problems_of(error) == error.problems


def test_an_unforeseen_error_leaves_its_traceback_in_the_output_folder(tmp_path: Path) -> None:
    (problem,) = problems_of(caused(ZeroDivisionError("by nought"), KeyError("why")), tmp_path)
    assert (problem.code, problem.exit_code) == ("internal.error_unexpected", ExitCode.INTERNAL)
    (file,) = tmp_path.iterdir()
    assert str(file) in problem.message
    text = file.read_text(encoding="utf-8")
    assert "ZeroDivisionError: by nought" in text
    assert "KeyError: 'why'" in text


def test_without_an_output_folder_the_traceback_goes_elsewhere(tmp_path: Path) -> None:
    (problem,) = problems_of(ZeroDivisionError(), tmp_path / "absent")
    assert problem.where.file is not None
    file = Path(problem.where.file)
    assert "ZeroDivisionError" in file.read_text(encoding="utf-8")
    assert not (tmp_path / "absent").exists()
    file.unlink()
