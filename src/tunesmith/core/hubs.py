# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Which hub an id without a prefix is on, by the environment variables that LLaMA-Factory and ms-swift users set."""

import os
from typing import Literal

from tunesmith.core.errors import refusal

Hub = Literal["hf", "ms"]

HUB_NAMES: dict[Hub, str] = {"hf": "Hugging Face", "ms": "ModelScope"}
_YES = ("1", "true", "y", "yes", "on")


def default_hub() -> Hub:
    """Give ModelScope where USE_MODELSCOPE_HUB is set (as in LLaMA-Factory) and USE_HF (as in ms-swift) is not."""
    return "ms" if _is_set("USE_MODELSCOPE_HUB") and not _is_set("USE_HF") else "hf"


def refuse_other_hubs(name: str) -> None:
    """Refuse an id where the environment says that ids are on a hub that is not read."""
    if _is_set("USE_OPENMIND_HUB") and default_hub() == "hf" and not _is_set("USE_HF"):
        raise refusal(
            "environment.hub_unsupported",
            f"USE_OPENMIND_HUB is set, so {name!r} is an id on the openMind hub, which is not read.",
            "Unset it for ids on Hugging Face, set USE_MODELSCOPE_HUB=1 for ModelScope, or name a local folder.",
        )


def _is_set(name: str) -> bool:
    return os.environ.get(name, "").strip().lower() in _YES
