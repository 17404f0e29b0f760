# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Which weights of a model are trained, adapted or frozen, with their parameters and bytes; every weight is counted.

Trained: the optimizer changes it. Adapted: it stays, but an adapter on its module is trained. Frozen: neither.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch import nn

State = Literal["trained", "adapted", "frozen"]
STATES: tuple[State, ...] = ("trained", "adapted", "frozen")

_WRAPPERS = re.compile(
    r"base_model\.model\.|\.base_layer|\.original_module|\.modules_to_save|\.default(?=\.|$)|\.start(?=\.|$)"
)


@dataclass(frozen=True, kw_only=True)
class CoverageRow:
    """Weights of one name (`*` stands for the layer numbers) and state."""

    name: str
    state: State
    tensors: int
    parameters: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class CoverageReport:
    """All weights of a model, grouped; `totals` counts the parameters of each state."""

    rows: tuple[CoverageRow, ...]

    @property
    def totals(self) -> Mapping[State, int]:
        """Parameters by state."""
        return {state: sum(row.parameters for row in self.rows if row.state == state) for state in STATES}

    def to_json(self) -> dict[str, Any]:
        """Give totals and rows as a JSON object."""
        sizes = {state: sum(row.bytes for row in self.rows if row.state == state) for state in STATES}
        return {"parameters": dict(self.totals), "bytes": sizes, "rows": [asdict(row) for row in self.rows]}

    def table(self) -> str:
        """Write the rows as aligned text, a line of totals last."""
        cells = [("weights", "state", "tensors", "parameters", "MB")]
        cells += [
            (row.name, row.state, str(row.tensors), f"{row.parameters:,}", _megabytes(row.bytes)) for row in self.rows
        ]
        widths = [max(len(line[column]) for line in cells) for column in range(5)]
        lines = [
            "  ".join(
                [
                    *(f"{text:<{width}}" for text, width in zip(line[:2], widths[:2], strict=True)),
                    *(f"{text:>{width}}" for text, width in zip(line[2:], widths[2:], strict=True)),
                ]
            )
            for line in cells
        ]
        return "\n".join([*lines, self.summary()])

    def summary(self) -> str:
        """Say in one line how much is trained."""
        totals = self.totals
        everything = sum(totals.values())
        share = 100 * totals["trained"] / everything
        parts = ", ".join(f"{totals[state]:,} {state}" for state in STATES)
        return f"{everything:,} parameters: {parts} ({share:.2f} % trained)"


def coverage(model: nn.Module) -> CoverageReport:
    """Group every weight of a model by name and state, in the model's order."""
    tensors: Counter[tuple[str, State]] = Counter()
    parameters: Counter[tuple[str, State]] = Counter()
    sizes: Counter[tuple[str, State]] = Counter()
    trained_modules = {_module_of(name) for name, weight in model.named_parameters() if weight.requires_grad}
    for name, weight in model.named_parameters():
        key = (re.sub(r"\.\d+(?=\.|$)", ".*", _WRAPPERS.sub("", name)), _state(name, weight, trained_modules))
        tensors[key] += 1
        parameters[key] += weight.numel()
        sizes[key] += weight.numel() * weight.element_size()
    return CoverageReport(
        rows=tuple(
            CoverageRow(name=key[0], state=key[1], tensors=tensors[key], parameters=parameters[key], bytes=sizes[key])
            for key in tensors
        )
    )


def _module_of(name: str) -> str:
    """Name the module that an adapter weight belongs to."""
    return re.split(r"\.(?:base_layer|(?:lora|oft|hada|lokr)_[a-zA-Z0-9_]+)\b", name)[0]


def _state(name: str, weight: nn.Parameter, trained_modules: set[str]) -> State:
    if weight.requires_grad:
        return "trained"
    return "adapted" if ".base_layer." in name and _module_of(name) in trained_modules else "frozen"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}"
