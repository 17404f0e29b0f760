# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Lets PEFT take LoRA's targets literally on models with fused experts.

PEFT 0.21 reads names such as down_proj there as the experts' of transformers 4 (its `_convert_peft_config_moe`, to load
old adapters): with `lora_target: all` it then adapts the fused experts that nobody named, and leaves out the dense and
shared layers of that name. Delete when PEFT has a switch for it; the test fails when its function is gone.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from peft.utils import transformers_weight_conversion


def _as_written(peft_config: Any, model: Any, conversions: Any) -> None:
    """Leave the configuration as it is."""


@contextlib.contextmanager
def literal_targets() -> Iterator[None]:
    """Put adapters only on what is named."""
    own = transformers_weight_conversion.convert_peft_config_for_transformers
    transformers_weight_conversion.convert_peft_config_for_transformers = _as_written
    try:
        yield
    finally:
        transformers_weight_conversion.convert_peft_config_for_transformers = own
