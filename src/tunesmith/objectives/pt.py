# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Continued pre-training: the likelihood of plain text.

Loss: the sum over all tokens t but the first of a document of −log p(t | all before t), averaged over the number of
such tokens in the whole optimizer step. For raw text without roles.
"""

from typing import ClassVar

from tunesmith.config.section import Section
from tunesmith.core.types import RowKind
from tunesmith.objectives.base import objectives
from tunesmith.objectives.likelihood import Likelihood, LikelihoodParams


class PtParams(LikelihoodParams):
    """Keys of stage pt; it has none of its own."""

    section: ClassVar[str] = "pt"
    selected_by: ClassVar[dict[str, tuple[str, ...]]] = {"stage": ("pt",)}


@objectives.register("pt")
class LanguageModelling(Likelihood):
    """Negative log-likelihood of every token of a text."""

    Params: ClassVar[type[Section]] = PtParams
    row_kind: ClassVar[RowKind] = "text"
