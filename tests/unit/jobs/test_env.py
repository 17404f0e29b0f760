# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The doctor: versions outside the tested range, extras, and probes that fail or say nothing."""

from packaging.requirements import Requirement

from tunesmith.core.report import collected_warnings
from tunesmith.jobs import env


def test_a_version_outside_the_range_is_warned_of() -> None:
    env.check_version(Requirement("pytest>=1"))
    assert collected_warnings() == ()
    env.check_version(Requirement("pytest<1"))
    env.check_version(Requirement("no-such-package-here>=2"))
    first, second = collected_warnings()
    assert first.code == second.code == "environment.version_unsupported"
    assert f"pytest is {env.installed_version('pytest')}" in first.message
    assert "no-such-package-here is not installed" in second.message


def test_this_environment_is_within_the_tested_ranges() -> None:
    assert {requirement.name for requirement in env.core_requirements()} >= {"torch", "transformers", "peft"}
    for requirement in env.core_requirements():
        env.check_version(requirement)
    assert collected_warnings() == ()


def test_extras_say_what_is_missing() -> None:
    state = env.extras()["dev"]
    assert state["installed"] is (state["missing"] == [])


def test_a_probe_gives_its_json_or_the_last_line_of_its_failure() -> None:
    assert env.probe("print('noise'); print('{\"a\": 1}')") == ({"a": 1}, "")
    assert env.probe("raise RuntimeError('operator nms does not exist')") == (
        {},
        "RuntimeError: operator nms does not exist",
    )
    assert env.probe("import os; os._exit(3)") == ({}, "exit code 3")
