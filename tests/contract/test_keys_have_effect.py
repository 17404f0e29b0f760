# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""A key without an effect is no key: every key is read by the code of some part, or handed to transformers."""

import re
from pathlib import Path

from tunesmith.config.index import load_index

SOURCE = Path(__file__).resolve().parents[2] / "src" / "tunesmith"
# Read by the configuration itself.
READ_BY_CONFIG = {"plugins", "predict_with_generate"}


def test_every_key_is_read_somewhere() -> None:
    folders = [path for path in sorted(SOURCE.iterdir()) if path.is_dir() and path.name not in ("config", "cli")]
    text = "\n".join(path.read_text(encoding="utf-8") for folder in folders for path in sorted(folder.rglob("*.py")))
    unread = [
        name
        for name, entry in load_index().keys.items()
        if name not in READ_BY_CONFIG
        and not (entry.is_inherited and entry.section == "training")
        and not re.search(rf"\.{name}\b|[\"']{name}[\"']", text)
    ]
    assert not unread, f"keys that nothing reads: {unread}"
