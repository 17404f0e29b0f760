# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The table of stages agrees with the losses that are registered."""

import pytest

from tunesmith.core.errors import TunesmithError
from tunesmith.data.stages import STAGE_KINDS, kind_of_stage
from tunesmith.objectives.base import objectives


def test_registered_losses_take_the_rows_of_their_stage() -> None:
    named = {name: objective.row_kind for name, objective in objectives.items() if name in STAGE_KINDS}
    assert named and named == {name: kind_of_stage(name) for name in named}


def test_an_unknown_stage_is_refused() -> None:
    with pytest.raises(TunesmithError) as caught:
        kind_of_stage("distil")
    assert caught.value.problems[0].code == "data.kind_unsupported"
