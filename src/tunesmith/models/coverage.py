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

from peft.tuners.lora.layer import ParamWrapper
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from tunesmith.models.stored_size import num_bytes, num_values

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
    adapted = _adapted_weights(model)
    for name, weight in model.named_parameters():
        key = (re.sub(r"\.\d+(?=\.|$)", ".*", _WRAPPERS.sub("", name)), _state(weight, adapted))
        tensors[key] += 1
        parameters[key] += num_values(weight)
        sizes[key] += num_bytes(weight)
    return CoverageReport(
        rows=tuple(
            CoverageRow(name=key[0], state=key[1], tensors=tensors[key], parameters=parameters[key], bytes=sizes[key])
            for key in tensors
        )
    )


def _adapted_weights(model: nn.Module) -> set[int]:
    """Find the weights on whose layer, or on which themselves (fused experts), an adapter is trained."""
    found: set[int] = set()
    for layer in model.modules():
        if not isinstance(layer, BaseTunerLayer) or not _trains(layer):
            continue
        base = layer.get_base_layer()
        weights = [layer.get_param()] if isinstance(layer, ParamWrapper) else list(base.parameters())
        found |= {id(weight) for weight in weights if not weight.requires_grad}
    return found


def _trains(layer: Any) -> bool:
    """Say whether anything in the wrapper itself is trained; wrappers of one module's weights are nested."""
    inner = {id(parameter) for parameter in layer.base_layer.parameters()}
    return any(parameter.requires_grad and id(parameter) not in inner for parameter in layer.parameters())


def _state(weight: nn.Parameter, adapted: set[int]) -> State:
    if weight.requires_grad:
        return "trained"
    return "adapted" if id(weight) in adapted else "frozen"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}"
