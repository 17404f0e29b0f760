# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""`tunesmith models`: which families of models there are, and what is known of each."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tunesmith.jobs.families import IN_TEXT, SLOW, Family, TypeFacts, find, read_families


def run(name: str | None) -> dict[str, Any]:
    """List all families, or those that a name, a model's name or a model's folder fits; with a text for people."""
    libraries, families = read_families()
    found = families if name is None else find(name, families)
    text = overview(found) if name is None else "\n\n".join(details(family) for family in found)
    return {"families": [asdict(family) for family in found], "tried_with": libraries, "text": text}


def overview(families: Sequence[Family]) -> str:
    """Write a short list of all families."""
    lines = []
    for family in families:
        lines.append(f"{family.name}: {', '.join(map(_marked, family.types)) or 'any model type'}")
        if family.templates:
            lines.append(f"    templates  {', '.join(part.name for part in family.templates)}")
    lines += [
        "",
        "Plain model types passed the whole contract on a tiny model (loading, scores, packed or padded rows, LoRA,",
        "a step, saving, reloading, merging, answering), those with * parts of it. (code) brings code of its own,",
        "(media) reads images, video or sound: neither was tried. `tunesmith models NAME` tells more; NAME may also be",
        "the name of a model, or its folder.",
    ]
    return "\n".join(lines)


def _marked(part: TypeFacts) -> str:
    marks = {"verified": "", "partly": "*", "untried": " (untried)", "own_code": " (code)", "media": " (media)"}
    return part.type + marks[part.state]


def details(family: Family) -> str:
    """Write all that is known of a family."""
    lines = [family.name + (f" ({family.note})" if family.note else "")]
    lines += [line for part in family.types for line in _type_lines(part)]
    by_format: dict[str, list[str]] = {}
    for template in family.templates:
        by_format.setdefault(template.tools, []).append(template.name)
    for tools, names in by_format.items():
        how = f"that write tools {tools}" if tools == IN_TEXT else f"with tools in the format {tools}"
        lines.append(f"  templates {how}: {', '.join(names)}")
    return "\n".join(lines)


def _type_lines(part: TypeFacts) -> list[str]:
    if part.state == "own_code":
        return [f"  {part.type}: brings code of its own, which is not part of transformers; not tried"]
    if part.state == "media":
        return [f"  {part.type}: reads images, video or sound, and is no language model to transformers; not tried"]
    verdict = {"verified": "verified", "partly": "verified in parts", "untried": "not tried"}[part.state]
    lines = [f"  {part.type}: {verdict}" + (f"; {part.reason}" if part.reason else "")]
    lines += [f"    fails      {name}: {why}" for name, why in (part.failed or {}).items()]
    if part.targets:
        because = f", since models of this type {part.why_padded}" if part.why_padded else ""
        lines.append(f"    rows       {part.rows}{because}")
        lines.append(f"    lora_target: all  {', '.join(part.targets)}")
    if part.experts:
        lines.append(f"    target_parameters: experts  {', '.join(part.experts)}")
    if part.past in SLOW:
        lines.append(f"    {SLOW[part.past]}")
    return lines
