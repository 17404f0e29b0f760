# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Sets up the threads of a job's process before torch starts in it, and says what is unusual about them."""

import os

from tunesmith.core.cpu import read_cpu
from tunesmith.core.cpu_policy import WAIT_POLICY, LoadMeter, choose_policy
from tunesmith.core.progress import say

# From here to the start of the job is the time in which the load is measured.
_LOAD = LoadMeter()


def thread_environment() -> dict[str, str]:
    """Give the environment variables of the job's threads; what the user set is left alone."""
    policy = choose_policy(read_cpu(), busy_share=_LOAD.busy_share(), environment=os.environ)
    if WAIT_POLICY in policy.environment:
        say(f"Threads wait {policy.wait} ({WAIT_POLICY}=PASSIVE).")
    return dict(policy.environment)
