# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Supervised fine-tuning: the likelihood of the answers, given the prompts.

Loss: the sum over the answers' tokens t of w_t · −log p(t | prompt, answer so far), averaged over Σ w_t of the whole
optimizer step. For instruction data; the tokens of prompts carry weight 0.
"""

from typing import ClassVar

from tunesmith.config.section import Section
from tunesmith.core.types import RowKind
from tunesmith.objectives.base import objectives
from tunesmith.objectives.likelihood import Likelihood


class SftParams(Section):
    """Keys of stage sft; it has none of its own."""

    section: ClassVar[str] = "sft"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"stage": ("sft",)}


@objectives.register("sft")
class SupervisedFineTuning(Likelihood):
    """Weighted negative log-likelihood of the supervised tokens."""

    Params: ClassVar[type[Section]] = SftParams
    row_kind: ClassVar[RowKind] = "supervised"
