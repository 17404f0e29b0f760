# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The private methods of transformers that we replace are the ones that were read."""

import pytest
import transformers

from tunesmith.training.hf_compat import RELIED_ON, REPLACED, TESTED, HookedTrainer, source_hash


@pytest.mark.parametrize("name", [*REPLACED, *RELIED_ON])
def test_the_source_is_the_one_that_was_read(name: str) -> None:
    known = {**REPLACED, **RELIED_ON}[name]
    assert source_hash(name) == known, (
        f"Trainer.{name} of transformers {transformers.__version__} is not the one of {TESTED}: read what changed, "
        "adapt training/hf_compat.py, and note the new version and hash"
    )


def test_the_installed_version_was_tested() -> None:
    assert transformers.__version__ in TESTED


def test_exactly_the_named_private_methods_are_replaced() -> None:
    private = {name for name in vars(HookedTrainer) if name.startswith("_") and not name.startswith(("__", "_abc"))}
    assert private == set(REPLACED)
