# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Makes the `orders` sets: a short order e-mail, and the JSON record that an order desk would type from it.

Names, items, cities and some phrasings of the test rows never occur in training.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from scripts.make_data.draw import Draw

INSTRUCTION = "Write this order as JSON."
NUM_TRAIN, NUM_TEST = 800, 100

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_TO_TWELVE = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
NUMBER_WORDS = {**dict(enumerate(_TO_TWELVE, start=1)), 15: "fifteen", 20: "twenty", 30: "thirty", 50: "fifty"}
KEYWORDS = ("express", "standard", "courier", "pickup")
PHRASES = {2: "a pair of", 6: "half a dozen", 12: "a dozen", 24: "two dozen"}

Words = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Order:
    """What the e-mail says: the record to be written."""

    customer: str
    city: str
    items: tuple[tuple[int, str], ...]
    day: str | None
    shipping: str

    def to_json(self) -> str:
        """Write the record in its one canonical form."""
        items = [{"qty": quantity, "item": item} for quantity, item in self.items]
        record = {
            "customer": self.customer,
            "city": self.city,
            "items": items,
            "day": self.day,
            "shipping": self.shipping,
        }
        return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, kw_only=True)
class Phrasing:
    """Sentence frames to draw from; `forced` replaces the frames of one kind by one that only the test set uses."""

    words: Words
    forced: dict[str, str] = field(default_factory=dict)

    def frame(self, draw: Draw, kind: str) -> str:
        """Draw a frame of a kind."""
        return self.forced[kind] if kind in self.forced else draw.one(self.words[kind])


def make_orders(folder: Path) -> dict[str, str]:
    """Give file name → content of the two `orders` sets; `folder` holds the word lists."""
    words = yaml.safe_load((folder / "orders.yaml").read_text(encoding="utf-8"))
    train, held_out = words["train"], words["test"]
    test = {**train, **{key: held_out[key] for key in ("first_names", "last_names", "cities", "items")}}
    only_in_test = [(kind, frame) for kind in ("request", "city", "day", "signature") for frame in held_out[kind]]
    return {
        "orders_train.jsonl": _make_rows(NUM_TRAIN, [Phrasing(words=train)], "orders train 1"),
        "orders_test.jsonl": _make_rows(
            NUM_TEST, [Phrasing(words=test, forced={kind: frame}) for kind, frame in only_in_test], "orders test 1"
        ),
    }


def _make_rows(count: int, phrasings: Sequence[Phrasing], seed: str) -> str:
    draw = Draw(seed)
    lines: dict[str, str] = {}  # e-mail → line, so that no e-mail occurs twice
    while len(lines) < count:
        phrasing = phrasings[len(lines) % len(phrasings)]
        order = _draw_order(draw, phrasing)
        mail = _write_mail(draw, phrasing, order)
        row = {"system": INSTRUCTION, "instruction": mail, "output": order.to_json()}
        lines.setdefault(mail, json.dumps(row, ensure_ascii=False))
    return "".join(line + "\n" for line in lines.values())


def _draw_order(draw: Draw, phrasing: Phrasing) -> Order:
    words = phrasing.words
    kinds = draw.some(words["items"], draw.one([1, 1, 1, 1, 2, 2, 2, 2, 2, 3]))
    quantities = [_draw_quantity(draw) for _ in kinds]
    return Order(
        customer=f"{draw.one(words['first_names'])} {draw.one(words['last_names'])}",
        city=draw.one(words["cities"]),
        items=tuple((n, one if n == 1 else many) for n, (one, many) in zip(quantities, kinds, strict=True)),
        day=draw.one(DAYS) if "day" in phrasing.forced or draw.happens(0.7) else None,
        shipping=draw.one(sorted(words["shipping"])),
    )


def _draw_quantity(draw: Draw) -> int:
    if draw.happens(0.6):
        return draw.one([1, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
    return draw.one([12, 15, 20, 24, 30, 50, 13 + draw.below(86)])


def _write_mail(draw: Draw, phrasing: Phrasing, order: Order) -> str:
    """Draw which sentence says what, in which order, with which spelling."""
    where_is_city = "city" if "city" in phrasing.forced else draw.one(["city", "request", "name"])
    is_signed = "signature" in phrasing.forced or draw.happens(0.6)
    if where_is_city == "request" and "request" not in phrasing.forced:
        request = phrasing.frame(draw, "request_city")
    else:
        request = phrasing.frame(draw, "request")
    city_with_name = where_is_city == "name" and "signature" not in phrasing.forced
    name_kind = ("signature" if is_signed else "intro") + ("_city" if city_with_name else "")
    name = phrasing.frame(draw, name_kind)
    body = [request, *_delivery_sentences(draw, phrasing, order)]
    if "{city}" not in request + name:
        body.append(phrasing.frame(draw, "city"))
    body.extend(draw.some(phrasing.words["distractor"], draw.one([0, 0, 0, 1, 1])))
    body = draw.some(body, len(body))
    sentences = [*body, name] if is_signed else [name, *body]
    greeting = phrasing.frame(draw, "greeting")
    frames = [greeting, *sentences] if greeting else sentences
    if draw.happens(0.25):
        frames = _misspell(draw, frames)
    separator = draw.one([" ", " ", "\n"])
    return _fill(draw, separator.join(frames), phrasing.words, order)


def _delivery_sentences(draw: Draw, phrasing: Phrasing, order: Order) -> list[str]:
    sentences = []
    if order.day:
        sentences.append(phrasing.frame(draw, "day"))
    elif draw.happens(0.3):
        sentences.append(phrasing.frame(draw, "any_day"))
    sentences.append(draw.one(phrasing.words["shipping"][order.shipping]))
    return sentences


def _misspell(draw: Draw, frames: list[str]) -> list[str]:
    """Swap two inner letters of one plain word of a sentence; names, items and numbers are filled in later."""
    candidates = [
        (index, match.start())
        for index, frame in enumerate(frames)
        for match in re.finditer(r"(?<![\w{])[a-z]{5,}(?![\w}])", frame)
        if match.group() not in KEYWORDS
    ]
    if not candidates:
        return frames
    index, start = draw.one(candidates)
    frame, place = frames[index], start + 1 + draw.below(2)
    swapped = frame[:place] + frame[place + 1] + frame[place] + frame[place + 2 :]
    return [*frames[:index], swapped, *frames[index + 1 :]]


def _fill(draw: Draw, text: str, words: Words, order: Order) -> str:
    others = [name for name in words["first_names"] if name not in order.customer]
    text = text.replace("{items}", _write_items(draw, order.items))
    text = text.replace("{customer}", order.customer).replace("{city}", order.city)
    text = text.replace("{day}", _write_day(draw, order.day)) if order.day else text
    for slot, value in (("{first}", draw.one(others)), ("{number}", str(2 + draw.below(97)))):
        text = text.replace(slot, value)
    return text


def _write_items(draw: Draw, items: Sequence[tuple[int, str]]) -> str:
    style = draw.one(["words", "words", "digits", "digits", "mixed", "times", "after"])
    parts = [_write_item(draw, style, quantity, item) for quantity, item in items]
    if len(parts) == 1 or style in ("times", "after"):
        return ", ".join(parts)
    joint = draw.one([" and ", " and ", " plus ", ", "])
    return ", ".join(parts[:-1]) + joint + parts[-1]


def _write_item(draw: Draw, style: str, quantity: int, item: str) -> str:
    if style == "times":
        return f"{quantity}x {item}"
    if style == "after":
        return f"{item} ({quantity})"
    if style == "digits" or (style == "mixed" and draw.happens(0.5)):
        return f"{quantity} {item}"
    if quantity in PHRASES and draw.happens(0.8):
        return f"{PHRASES[quantity]} {item}"
    if quantity == 1 and draw.happens(0.5):
        return f"{'an' if item[0] in 'aeiou' else 'a'} {item}"
    return f"{NUMBER_WORDS.get(quantity, quantity)} {item}"


def _write_day(draw: Draw, day: str) -> str:
    return draw.one([day, day, day.lower(), day[:3], f"next {day}"])
