# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Makes the `plain_text` set: very short stories for pre-training runs, one a row."""

import json
from pathlib import Path
from typing import Any

import yaml

from scripts.make_data.draw import Draw

NUM_STORIES = 80


def make_stories(folder: Path) -> dict[str, str]:
    """Give file name → content; `folder` holds the sentences."""
    words = yaml.safe_load((folder / "stories.yaml").read_text(encoding="utf-8"))
    draw = Draw("stories 1")
    stories: list[str] = []
    while len(stories) < NUM_STORIES:
        story = _tell(draw, words)
        if story not in stories:
            stories.append(story)
    return {"plain_text.jsonl": "".join(json.dumps({"text": story}, ensure_ascii=False) + "\n" for story in stories)}


def _tell(draw: Draw, words: dict[str, Any]) -> str:
    name, pronoun, possessive = draw.one(words["people"])
    thing = draw.one(words["things"])
    slots = {
        "{Name}": name,
        "{pronoun}": pronoun,
        "{possessive}": possessive,
        "{thing}": thing,
        "{a_thing}": f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}",
        "{place}": draw.one(words["places"]),
        "{part}": draw.one(words["parts"]),
    }
    text = " ".join(draw.one(step) for step in words["steps"])
    for slot, value in slots.items():
        text = text.replace(slot, value)
    return text
