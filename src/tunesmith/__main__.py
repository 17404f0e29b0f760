# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m tunesmith` is the same as `tunesmith`."""

import sys

from tunesmith.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
