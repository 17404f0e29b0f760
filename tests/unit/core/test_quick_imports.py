# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Packages are hidden only inside, loaded ones never; the collector is on again afterwards."""

import gc
import importlib
import json
import sys

import pytest

from tunesmith.core.optional import has_package
from tunesmith.core.quick_imports import quick_imports, without_packages


def test_a_hidden_package_counts_as_not_installed_until_the_end() -> None:
    sys.modules.pop("colorsys", None)
    with without_packages(["colorsys"]):
        assert not has_package("colorsys")
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("colorsys")
    assert has_package("colorsys") and importlib.import_module("colorsys").rgb_to_hls


def test_what_is_loaded_stays() -> None:
    with without_packages(["json"]):
        assert importlib.import_module("json") is json
    assert sys.modules["json"] is json


def test_the_collector_is_off_inside_and_as_before_afterwards() -> None:
    with pytest.raises(ValueError, match="some"), quick_imports():
        assert not gc.isenabled()
        raise ValueError("some")
    assert gc.isenabled() and gc.get_freeze_count() > 0
    gc.unfreeze()
