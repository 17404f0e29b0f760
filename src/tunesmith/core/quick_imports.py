# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Imports a large tree of modules fast: no garbage is collected on the way, and packages nobody needs stay out of it.

Libraries import whatever optional packages they find (transformers and peft take pandas, bitsandbytes, torchao along).
"""

import gc
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


@contextmanager
def quick_imports() -> Iterator[None]:
    """Inside, no garbage is collected; what was imported is never looked at by the collector again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


@contextmanager
def without_packages(names: Iterable[str]) -> Iterator[None]:
    """Inside, packages that are not loaded yet count as not installed."""
    blocked = [name for name in names if name not in sys.modules]
    # None is Python's own mark for "not to be found": find_spec gives None, and an import raises ModuleNotFoundError.
    sys.modules.update(dict.fromkeys(blocked))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in blocked:
            sys.modules.pop(name, None)
