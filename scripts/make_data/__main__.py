# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the bundled data sets into `data/`: `python -m scripts.make_data`. Same words, same bytes."""

from pathlib import Path

from scripts.make_data.files import make_all

if __name__ == "__main__":
    target = Path(__file__).resolve().parents[2] / "data"
    for name, text in make_all().items():
        (target / name).write_bytes(text.encode("utf-8"))
        print(f"{name}: {len(text.splitlines())} lines")
