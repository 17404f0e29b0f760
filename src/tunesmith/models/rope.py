# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Scaled rotary positions: which parameters of transformers' a run's keys ask for, by the lengths of model and rows.

The factor is the length wanted over the model's own, rounded up, as in LLaMA-Factory. Scalings whose frequencies depend
on the longest row of a batch are not trained with: rows would change each other.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import PreTrainedConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from tunesmith.config.run import RunConfig
from tunesmith.config.sections.vocabulary import PositionSection
from tunesmith.core.errors import refusal, warning
from tunesmith.core.names import nearest
from tunesmith.core.report import emit_warning

# Methods whose frequencies depend on the longest row of a batch.
LENGTH_DEPENDENT = ("dynamic", "longrope")
# Layers that look at all positions; those with a window never meet a distance beyond it.
_FULL = "full_attention"
# What the model's own parameters keep under another method.
_KEPT = ("rope_theta", "partial_rotary_factor", "mrope_section")
_INFERENCE_FACTOR = 2.0


@dataclass(frozen=True, kw_only=True)
class RopeScaling:
    """transformers' parameters of scaled positions; `max_positions` replaces the model's where the method needs it."""

    parameters: Mapping[str, Any]
    max_positions: int | None = None

    @property
    def method(self) -> str:
        """Name of the method."""
        return str(self.parameters["rope_type"])

    def to_json(self) -> dict[str, Any]:
        """Give the fields as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "RopeScaling":
        """Read what `to_json` gave; KeyError, TypeError or ValueError where it is something else."""
        scaling = cls(**values)
        if scaling.method not in ROPE_INIT_FUNCTIONS:
            raise ValueError(f"rope_type {scaling.method} does not exist")
        return scaling


def rope_of_run(
    config: RunConfig, model_config: PreTrainedConfig, saved: Sequence[tuple[Path, RopeScaling | None]]
) -> RopeScaling | None:
    """Give the scaling of a run: by its keys, or as its adapters were trained (`saved`, in their order)."""
    section = config.part(PositionSection)
    recorded = next(((path, scaling) for path, scaling in reversed(saved) if scaling is not None), None)
    if section.rope_scaling is None:
        _refuse_idle_length(section)
        return recorded[1] if recorded is not None else None
    wanted = _derive(config, section, model_config)
    if recorded is None:
        return wanted
    path, scaling = recorded
    is_other = wanted is not None and wanted.method != scaling.method
    if is_other or (_trains(config) and wanted is not None and wanted.parameters != scaling.parameters):
        assert wanted is not None
        raise refusal(
            "model.rope_conflict",
            f"{path} was trained with {_words(scaling)}, and the keys ask for {_words(wanted)}.",
            "Leave rope_scaling out to repeat what was trained.",
            key="rope_scaling",
        )
    return scaling


def check_rope(model: nn.Module, scaling: RopeScaling) -> None:
    """Refuse a model whose modules do not compute with the scaling."""
    types = [value for module in model.modules() if (value := vars(module).get("rope_type")) is not None]
    found = {name for value in types for name in (value.values() if isinstance(value, dict) else [value])}
    if scaling.method not in found:
        raise refusal(
            "model.rope_unsupported",
            f"rope_scaling {scaling.method}: no module of {type(model).__name__} reads it "
            f"({', '.join(sorted(found)) or 'there are no rotary positions'}).",
            "Leave rope_scaling out, or use a model of another family.",
            key="rope_scaling",
        )


def apply_rope(text: dict[str, Any], scaling: RopeScaling, own: Mapping[str, Any]) -> None:
    """Write a scaling into a model's configuration as JSON; `own` are the parameters it had."""
    text.pop("rope_scaling", None)
    text["rope_parameters"] = {**own, _FULL: dict(scaling.parameters)} if _is_nested(own) else dict(scaling.parameters)
    if scaling.max_positions is not None:
        text["max_position_embeddings"] = scaling.max_positions


def text_part(content: dict[str, Any]) -> dict[str, Any]:
    """Give the part of a configuration that describes the language model."""
    part = content.get("text_config")
    return part if isinstance(part, dict) else content


def own_parameters(model_config: PreTrainedConfig) -> Mapping[str, Any]:
    """Give transformers' rotary parameters of a model; empty for a family without them."""
    text: Any = model_config.get_text_config()
    return getattr(text, "rope_parameters", None) or {}


def full_parameters(model_config: PreTrainedConfig) -> Mapping[str, Any]:
    """Give the rotary parameters of the layers that look at all positions; empty for a family without them."""
    own = own_parameters(model_config)
    return (own.get(_FULL) or {}) if _is_nested(own) else own


def readable_positions(model_config: PreTrainedConfig) -> int | None:
    """Count the positions that a model can read, its scaling included; None where it has no limit."""
    text: Any = model_config.get_text_config()
    positions = getattr(text, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions <= 0:
        return None
    scaling = full_parameters(model_config)
    factor, original = scaling.get("factor"), scaling.get("original_max_position_embeddings") or positions
    return max(positions, int(original * factor)) if isinstance(factor, int | float) else positions


def _derive(config: RunConfig, section: PositionSection, model_config: PreTrainedConfig) -> RopeScaling | None:
    flat = full_parameters(model_config)
    text: Any = model_config.get_text_config()
    positions = getattr(text, "max_position_embeddings", None)
    is_other = bool(flat) and "rope_type" not in flat  # kinds of layers without one that sees all positions
    if not flat or is_other or not isinstance(positions, int) or positions <= 0:
        raise refusal(
            "model.rope_unsupported",
            f"Models of type {model_config.model_type} have no rotary positions that could be scaled"
            + (f" for all layers (their kinds: {', '.join(sorted(flat))})." if is_other else "."),
            "Leave rope_scaling out; the model's own length is the limit.",
            key="rope_scaling",
        )
    asked = section.rope_scaling
    given = {"rope_type": asked} if isinstance(asked, str) else _mapping(asked or {})
    _refuse_second(given, flat, is_named=isinstance(asked, str), model_type=model_config.model_type)
    factor = _factor(config, section, given, positions)
    if factor is None:
        return None
    scaling = _complete(given, flat, factor, positions)
    _refuse_invalid(model_config, scaling)
    if _trains(config) and scaling.method in LENGTH_DEPENDENT:
        raise refusal(
            "model.rope_unsupported",
            f"rope_scaling {scaling.method} takes its frequencies from the longest row of a batch (beyond {positions} "
            "positions), so rows that are trained together would change each other, packed or padded.",
            "Write rope_scaling: yarn or linear to train; dynamic is for chat.",
            key="rope_scaling",
        )
    return scaling


def _refuse_invalid(model_config: PreTrainedConfig, scaling: RopeScaling) -> None:
    """Refuse a scaling that the family's configuration does not take, or takes for another."""
    content = model_config.to_dict()
    apply_rope(text_part(content), scaling, own_parameters(model_config))
    try:
        taken = full_parameters(type(model_config).from_dict(content))["rope_type"]
        reason = None if taken == scaling.method else f"it makes {taken} of it"
    except (ValueError, KeyError, TypeError, StrictDataclassError) as error:
        reason = " ".join(str(error).split())[:300]
    if reason is not None:
        raise refusal(
            "model.rope_unsupported",
            f"Models of type {model_config.model_type} do not take rope_scaling {scaling.method}: {reason}.",
            "Leave rope_scaling out, or write the whole mapping as the model's description gives it.",
            key="rope_scaling",
        )


def _mapping(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Read transformers' own mapping; `type` is its older name of rope_type."""
    given = {key: value for key, value in asked.items() if key != "type"}
    method = asked.get("rope_type", asked.get("type"))
    if method not in ROPE_INIT_FUNCTIONS:
        known = sorted(ROPE_INIT_FUNCTIONS)
        raise refusal(
            "model.rope_unsupported",
            f"rope_scaling names the rope_type {method!r}, which does not exist.",
            f"Choose among: {', '.join(known)}." + nearest(str(method), known),
            key="rope_scaling",
        )
    return {**given, "rope_type": method}


def _refuse_second(given: Mapping[str, Any], own: Mapping[str, Any], *, is_named: bool, model_type: str) -> None:
    own_type = own.get("rope_type", "default")
    if is_named and own_type != "default":
        raise refusal(
            "model.rope_unsupported",
            f"The positions of this {model_type} model are scaled already ({own_type}, factor {own.get('factor')}); "
            f"{given['rope_type']} would take the place of that, not add to it.",
            "Leave rope_scaling out, or write the whole mapping that is to hold, as in the model's config.json.",
            key="rope_scaling",
        )


def _factor(config: RunConfig, section: PositionSection, given: Mapping[str, Any], positions: int) -> float | None:
    """Give the factor that the user wrote, else the length wanted over the model's; None where that is within it."""
    if "factor" in given or given["rope_type"] == "longrope":
        factor = given.get("factor", 1.0)
        if not isinstance(factor, int | float) or isinstance(factor, bool) or factor < 1:
            raise refusal(
                "model.rope_unsupported",
                f"rope_scaling has the factor {factor!r}, which is no number of at least 1.",
                "Write the length wanted over the model's own.",
                key="rope_scaling",
            )
        return float(factor)
    wanted = section.max_model_len or (config.data.cutoff_len if config.job == "train" else None)
    if wanted is None:
        return _INFERENCE_FACTOR
    if wanted > positions:
        return float(math.ceil(wanted / positions))
    key = "cutoff_len" if section.max_model_len is None else "max_model_len"
    emit_warning(
        warning(
            "model.rope_idle",
            f"rope_scaling changes nothing: {key} {wanted} is within the model's {positions} positions.",
            "Leave it out, or raise cutoff_len.",
            key="rope_scaling",
        )
    )
    return None


def _complete(given: Mapping[str, Any], own: Mapping[str, Any], factor: float, positions: int) -> RopeScaling:
    method = given["rope_type"]
    parameters = {**{key: own[key] for key in _KEPT if own.get(key) is not None}, **given}
    if method != "longrope" or "factor" in given:
        parameters["factor"] = factor
    if method in ("yarn", "llama3", "longrope"):
        parameters.setdefault("original_max_position_embeddings", positions)
    if method == "llama3":
        parameters = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, **parameters}
    lacking = [key for key in ("short_factor", "long_factor") if method == "longrope" and key not in parameters]
    if lacking:
        raise refusal(
            "model.rope_unsupported",
            f"rope_scaling longrope lacks {', '.join(lacking)}.",
            "Copy the whole mapping from the model's description.",
            key="rope_scaling",
        )
    longer = int(parameters.get("original_max_position_embeddings", positions) * factor)
    return RopeScaling(parameters=parameters, max_positions=max(longer, positions) if method == "llama3" else None)


def _refuse_idle_length(section: PositionSection) -> None:
    if section.max_model_len is not None:
        raise refusal(
            "config.keys_conflict",
            f"max_model_len {section.max_model_len} is the length that rope_scaling reaches, which is not set.",
            "Write rope_scaling: yarn, or cutoff_len for the length of rows.",
            key="max_model_len",
        )


def _trains(config: RunConfig) -> bool:
    return config.job == "train" and config.run.do_train


def _is_nested(parameters: Mapping[str, Any]) -> bool:
    """Say whether layers of different kinds have parameters of their own."""
    return isinstance(parameters.get(_FULL), Mapping)


def _words(scaling: RopeScaling) -> str:
    factor = scaling.parameters.get("factor")
    return f"{scaling.method} positions" + (f" (factor {factor:g})" if isinstance(factor, int | float) else "")
