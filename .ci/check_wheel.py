# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Assert that the built wheel holds every tracked file of the package, data tables included, and nothing else."""

import subprocess
import sys
import zipfile
from pathlib import Path


def main(folder: str) -> int:
    """Compare the one wheel in `folder` with the files that git tracks under src/tunesmith."""
    (wheel,) = Path(folder).glob("*.whl")
    listed = subprocess.run(["git", "ls-files", "src/tunesmith"], capture_output=True, text=True, check=True)
    tracked = {name.removeprefix("src/") for name in listed.stdout.splitlines()}
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("tunesmith/")}
    for name in sorted(tracked ^ packed):
        print(f"{wheel.name}: {'missing' if name in tracked else 'not tracked'}: {name}", file=sys.stderr)
    print(f"{wheel.name}: {len(packed)} files")
    return 0 if tracked == packed else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
