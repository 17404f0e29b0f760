# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""What a run was made of (resolved keys, fingerprints, automatic choices, versions) and what differs between two runs.

It decides which differences forbid a resume (`resume_keys.yaml` lists the keys that may change).
"""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata, resources
from typing import Any

import yaml

from tunesmith import __version__

_LIBRARIES = ("torch", "transformers", "peft", "accelerate", "safetensors", "tokenizers", "numpy")

# Choices that change how fast the numbers come, not the numbers.
_WITHOUT_EFFECT = frozenset({"wait_policy"})


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """Everything that decides the bytes of a run, as plain JSON values.

    `config` holds all resolved keys, `config_text` the same as a file that can be run again; `fingerprints` are hashes
    of data, template, tokenizer and model; `choices` are what the program decided by itself.
    """

    config: Mapping[str, Any]
    config_text: str
    fingerprints: Mapping[str, str]
    choices: Mapping[str, Any]
    versions: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Give the record as JSON values, without the text of the configuration."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        del values["config_text"]
        return values


def installed_versions() -> dict[str, str]:
    """Name the versions of Python, tunesmith and the libraries that decide the numbers."""
    versions = {name: metadata.version(name) for name in _LIBRARIES}
    return {"python": platform.python_version(), "tunesmith": __version__, **versions}


def forbidding_differences(saved: Mapping[str, Any], current: RunRecord) -> list[str]:
    """List what changed since a checkpoint and must not: keys, data, template, tokenizer, model."""
    now = current.to_json()
    before, after = saved["config"], now["config"]
    keys = [name for name in sorted(set(before) & set(after)) if name not in changeable_keys()]
    lines = [_difference(name, before[name], after[name]) for name in keys if _differ(before[name], after[name])]
    prints = sorted(set(saved["fingerprints"]) | set(now["fingerprints"]))
    for name in prints:
        old, new = saved["fingerprints"].get(name), now["fingerprints"].get(name)
        if old != new:
            lines.append(_difference(f"the {name}", _short(old), _short(new)))
    return lines


def telling_differences(saved: Mapping[str, Any], current: RunRecord) -> list[str]:
    """List what may change the last bits of the numbers but does not forbid a resume: choices and versions."""
    now = current.to_json()
    pairs = [("choices", saved["choices"], now["choices"]), ("versions", saved["versions"], now["versions"])]
    return [
        _difference(name, before[name], after.get(name))
        for _, before, after in pairs
        for name in sorted(before)
        if before[name] != after.get(name) and name not in _WITHOUT_EFFECT
    ]


@cache
def changeable_keys() -> frozenset[str]:
    """Read the keys that may differ between a checkpoint and the run that resumes it."""
    text = resources.files("tunesmith.training").joinpath("resume_keys.yaml").read_text(encoding="utf-8")
    return frozenset(name for names in yaml.safe_load(text).values() for name in names)


def _differ(before: Any, after: Any) -> bool:
    """Compare values of a key; an empty list or text says as much as none."""
    return bool((before or None) != (after or None)) if not isinstance(before, bool | int | float) else before != after


def _difference(name: str, before: Any, after: Any) -> str:
    return f"{name}: {before!r} → {after!r}"


def _short(fingerprint: str | None) -> str | None:
    return fingerprint[:12] if fingerprint is not None else None
