# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Makes the `identity` set: questions about the assistant, each with one of its topic's answers."""

import json
from pathlib import Path

import yaml

from scripts.make_data.draw import Draw


def make_identity(folder: Path) -> dict[str, str]:
    """Give file name → content; `folder` holds the questions and answers."""
    topics = yaml.safe_load((folder / "identity.yaml").read_text(encoding="utf-8"))
    rows = [
        {"instruction": question, "input": "", "output": topic["answers"][index % len(topic["answers"])]}
        for topic in topics
        for index, question in enumerate(topic["questions"])
    ]
    draw = Draw("identity 1")
    lines = [json.dumps(row, ensure_ascii=False) for row in draw.some(rows, len(rows))]
    return {"identity.json": "[\n" + ",\n".join(lines) + "\n]\n"}
