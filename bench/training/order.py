# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What a system is asked to train: one JSON file that the bench writes and each system's script reads.

Standard library only, for it is read in every environment.
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

LORA = {"rank": 8, "alpha": 16}
LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
# What smollm2's template says where a row has no system message; some systems must be told.
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


@dataclass(frozen=True, kw_only=True)
class Order:
    """A run: model, data, hyper-parameters, length, and which variant of the system does it."""

    model: str
    folder: str
    stage: str = "sft"
    batch: int = 4
    accumulation: int = 2
    cutoff: int = 1024
    steps: int = 12
    learning_rate: float = 1e-4
    seed: int = 1
    packing: bool = False
    full: bool = False
    dtype: str = "bf16"
    # None: the system's own default.
    checkpointing: bool | None = None
    # What the variant adds to the system's own settings.
    keys: dict[str, object]

    @property
    def place(self) -> Path:
        """Folder with the rows, where the run also writes."""
        return Path(self.folder)

    def save(self) -> Path:
        """Write the order beside its rows."""
        path = self.place / "order.json"
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")
        return path


def read_order() -> Order:
    """Read the order that this script was called with."""
    return Order(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
