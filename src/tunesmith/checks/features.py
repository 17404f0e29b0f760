# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Features of answers that a model can learn in place of what makes them good: words, phrases, first words, formatting.

A feature is told in words that go on after "have an answer that"; nothing here knows which answers are good.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+(?:['’][^\W_]+)*")
_PHRASE_WORDS = 4
_SCREENED = 20
_FORMATS: Mapping[str, re.Pattern[str]] = {
    "has a list": re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+\S", re.MULTILINE),
    "has a heading": re.compile(r"^#{1,6}\s+\S", re.MULTILINE),
    "has bold text": re.compile(r"\*\*\S[^*\n]*\*\*"),
    "has a code block": re.compile(r"^\s*```", re.MULTILINE),
    "has a table": re.compile(r"^\s*\|.*\|\s*$", re.MULTILINE),
    "has an emoji": re.compile("[\u2600-\u27bf\U0001f300-\U0001faff]"),
    "has an exclamation mark": re.compile(r"[!！]"),
    "has a link": re.compile(r"https?://"),
    "has several paragraphs": re.compile(r"\S\s*\n\s*\n\s*\S"),
    "ends with a question": re.compile(r"[?？]\s*$"),
    "ends without a full stop": re.compile(r"[^\s.!?。！？…\"'”’)\]]\s*$"),
}


@dataclass(frozen=True, kw_only=True)
class Tell:
    """A feature, and the share of either side's answers that have it."""

    feature: str
    share: float
    share_of_others: float


def features_of(text: str) -> set[str]:
    """Name the features of an answer."""
    words = [word.casefold() for word in _WORD.findall(text)]
    found = {name for name, pattern in _FORMATS.items() if pattern.search(text)}
    if words:
        found.add(f"begins with the word “{words[0]}”")
    for size in range(1, _PHRASE_WORDS + 1):
        found.update(f"says “{' '.join(words[i : i + size])}”" for i in range(len(words) - size + 1))
    return found


def find_tells(texts: Sequence[str], others: Sequence[str], *, min_share: float, max_opposite: float) -> list[Tell]:
    """Find features that nearly all of some texts have and nearly none of others; the clearest first."""
    candidates = _candidates(texts, others)
    if not candidates:
        return []
    own, opposite = _counts(texts, candidates), _counts(others, candidates)
    found = [
        Tell(feature=feature, share=count / len(texts), share_of_others=opposite[feature] / len(others))
        for feature, count in own.items()
        if count >= min_share * len(texts) and opposite[feature] <= max_opposite * len(others)
    ]
    found.sort(key=lambda tell: (tell.share_of_others - tell.share, -len(tell.feature), tell.feature))
    return _without_parts(found)


def _candidates(texts: Sequence[str], others: Sequence[str]) -> set[str]:
    """Screen by a few texts of either side: what nine of ten have is in most of twenty, what few have is in few."""
    own, opposite = _counts(_spread(texts)), _counts(_spread(others))
    return {name for name, count in own.items() if count >= 0.6 * _SCREENED and opposite[name] <= 0.3 * _SCREENED}


def _spread(texts: Sequence[str]) -> Sequence[str]:
    step = max(len(texts) // _SCREENED, 1)
    return texts[::step][:_SCREENED]


def _counts(texts: Iterable[str], candidates: set[str] | None = None) -> Counter[str]:
    counts: Counter[str] = Counter()
    for text in texts:
        found = features_of(text)
        counts.update(found if candidates is None else found & candidates)
    return counts


def _without_parts(tells: list[Tell]) -> list[Tell]:
    """Leave out phrases that are part of one that tells as much."""
    kept: list[Tell] = []
    for tell in tells:
        phrase = tell.feature.removeprefix("says “").removesuffix("”")
        if not any(phrase in known.feature for known in kept):
            kept.append(tell)
    return kept
