# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The stamps as a plug-in of tunesmith's command line: `plugins: [tunesmith_stamps]`.

The command's parent process imports plug-ins too; only the child that trains is measured, and only it has torch.
"""

import importlib
import sys

_SPEC = sys.modules["__main__"].__spec__
if _SPEC is not None and _SPEC.name == "tunesmith.cli.child":
    importlib.import_module("stamps").install()
