# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Which kind of rows each stage trains on, also for stages without a loss here: their rows can be looked at."""

from collections.abc import Mapping

from tunesmith.core.errors import refusal
from tunesmith.core.types import RowKind

STAGE_KINDS: Mapping[str, RowKind] = {
    "pt": "text",
    "sft": "supervised",
    "rm": "preference",
    "dpo": "preference",
    "kto": "feedback",
    "ppo": "prompt",
}


def stages_of_kind(kind: RowKind) -> list[str]:
    """Name the stages that train on a kind of rows; none for kinds that are not trained on yet."""
    return [stage for stage, trained in STAGE_KINDS.items() if trained == kind]


def kind_of_stage(stage: str) -> RowKind:
    """Give the kind of rows of a stage of LLaMA-Factory's, or refuse."""
    if stage not in STAGE_KINDS:
        raise refusal(
            "data.kind_unsupported",
            f"It is not known which rows stage {stage} trains on.",
            f"Choose one of: {', '.join(STAGE_KINDS)}.",
            key="stage",
        )
    return STAGE_KINDS[stage]
