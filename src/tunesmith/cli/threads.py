# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""How the job's threads wait for each other: decided from the load before torch starts, because it stays as it is then.

On two cores, threads that spin while they wait made a training step 1.3 times as fast on a quiet machine, and 5 times
as slow beside one busy process (docs/decisions.md).
"""

import os

import psutil

from tunesmith.core.progress import say

WAIT_POLICY = "OMP_WAIT_POLICY"
_SAMPLE_SECONDS = 0.25
# Share of all cores that other processes may use for the machine to count as quiet.
_QUIET_SHARE = 0.1


def thread_environment() -> dict[str, str]:
    """Give the environment variables of the job's threads; what the user set is left alone."""
    if WAIT_POLICY in os.environ or "GOMP_SPINCOUNT" in os.environ:
        return {}
    share = psutil.cpu_percent(interval=_SAMPLE_SECONDS) / 100
    if share <= _QUIET_SHARE:
        return {}
    say(f"Other processes use {share:.0%} of the cores: threads sleep while they wait ({WAIT_POLICY}=PASSIVE).")
    return {WAIT_POLICY: "PASSIVE"}
