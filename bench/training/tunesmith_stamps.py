# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The stamps as a plug-in of tunesmith's command line: `plugins: [tunesmith_stamps]`.

The command's parent process imports plug-ins too; only the child that trains is measured, and only it has torch. The
stamps are installed when the job has imported what it uses, so that they change nothing of how it imports.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

_JOB = "tunesmith.jobs.train"


class _AfterTheJob(MetaPathFinder):
    """Finds the job's module as Python does, and has the stamps installed after its imports."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Give the job's module a loader that installs the stamps; leave every other module to others."""
        spec = PathFinder.find_spec(name, path, target) if name == _JOB else None
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(name, spec.origin)
        return spec


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        importlib.import_module("stamps").install()


_SPEC = sys.modules["__main__"].__spec__
if _SPEC is not None and _SPEC.name == "tunesmith.cli.child":
    sys.meta_path.insert(0, _AfterTheJob())
