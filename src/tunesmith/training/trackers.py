# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Trackers that receive logged values: which are installed, and a refusal that names the package of one that is not."""

from collections.abc import Sequence

from tunesmith.core.errors import refusal
from tunesmith.core.optional import has_package

# Tracker → packages any one of which it needs.
PACKAGES: dict[str, tuple[str, ...]] = {
    "mlflow": ("mlflow",),
    "swanlab": ("swanlab",),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}


def choose_trackers(report_to: Sequence[str]) -> list[str]:
    """Give the trackers to use; 'all' means those that are installed, a named one must be."""
    if "all" in report_to:
        return [name for name in sorted(PACKAGES) if is_installed(name)]
    names = [name for name in report_to if name != "none"]
    for name in names:
        if not is_installed(name):
            raise refusal(
                "environment.package_missing",
                f"report_to names {name}, but its package is not installed.",
                f"Install it with: pip install {PACKAGES[name][0]}; or take {name} out of report_to.",
                key="report_to",
            )
    return names


def is_installed(tracker: str) -> bool:
    """Say whether a tracker's package is there."""
    return any(has_package(package) for package in PACKAGES[tracker])
