# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""ms-swift's `loss_scale`: which turns are trained, and weights of parts of their answers, in one short expression.

`[base+]rule[+rule…]`: the base is `default` (every answer), `last_round` (those after the last question) or `all`
(every token); the weights of several rules multiply. The rules stand in loss_scale.yaml.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml

from tunesmith.core.errors import refusal
from tunesmith.core.names import nearest

BASES = ("default", "last_round", "all")
# ms-swift's older names of combinations.
_COMBINED = {"last_round_with_ignore_empty_think": "last_round+ignore_empty_think"}

Factor = tuple[int, int, float]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Weights of keywords with the text behind them, of patterns, and of answers to certain questions."""

    keywords: Mapping[str, tuple[float, float]]
    patterns: Mapping[str, float]
    questions: Mapping[str, float]

    def factors(self, answer: str, question: str) -> list[Factor]:
        """Weigh parts of an answer: start, end, weight; what is not listed weighs 1."""
        for words, weight in self.questions.items():
            if words in question:
                return [(0, len(answer), weight)]
        found = [
            (match.start(), match.end(), weight)
            for pattern, weight in self.patterns.items()
            for match in re.finditer(pattern, answer, re.DOTALL)
        ]
        return [*self._after_keywords(answer), *found]

    def _after_keywords(self, answer: str) -> list[Factor]:
        if not self.keywords:
            return []
        longest_first = sorted(self.keywords, key=lambda words: (-len(words), words))
        matches = list(re.finditer("|".join(map(re.escape, longest_first)), answer))
        ends = [*(match.start() for match in matches), len(answer)][1:]
        factors: list[Factor] = []
        for match, end in zip(matches, ends, strict=True):
            own, behind = self.keywords[match.group()]
            factors += [(match.start(), match.end(), own), (match.end(), end, behind)]
        return factors


@dataclass(frozen=True, kw_only=True)
class LossScale:
    """A read expression."""

    base: str
    rules: tuple[Rule, ...]

    def factors(self, answer: str, question: str) -> list[Factor]:
        """Weigh parts of an answer by all rules."""
        return [factor for rule in self.rules for factor in rule.factors(answer, question)]


@cache
def read_loss_scale(expression: str) -> LossScale:
    """Read an expression, or refuse it with the nearest names."""
    table = _load_rules()
    words = _COMBINED.get(expression, expression).split("+")
    base = words.pop(0) if words[0] in BASES else "default"
    unknown = [word for word in words if word not in table]
    if unknown:
        known = [*BASES, *table]
        raise refusal(
            "template.loss_scale_unknown",
            f"loss_scale: {expression} names {unknown[0]!r}, which is no rule." + nearest(unknown[0], known),
            f"Join a base ({', '.join(BASES)}) and rules ({', '.join(table)}) with +, e.g. last_round+hermes.",
            key="loss_scale",
        )
    return LossScale(base=base, rules=tuple(table[word] for word in words))


@cache
def _load_rules() -> Mapping[str, Rule]:
    text = resources.files("tunesmith.templates").joinpath("loss_scale.yaml").read_text(encoding="utf-8")
    return {
        name: Rule(
            keywords={words: (own, behind) for words, (own, behind) in given.get("keywords", {}).items()},
            patterns=given.get("patterns", {}),
            questions=given.get("questions", {}),
        )
        for name, given in yaml.safe_load(text).items()
    }
