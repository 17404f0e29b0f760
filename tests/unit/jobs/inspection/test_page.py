# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The page: one file that fetches nothing and runs nothing, in which data is only ever text."""

import re
from html.parser import HTMLParser

from tests.unit.jobs.inspection.made import HOSTILE, made_inspection, made_row
from tunesmith.jobs.inspection.page import to_page

VOID = {"meta"}


class Tags(HTMLParser):
    """Checks that tags close in order, and keeps them with their attributes and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    assert not tags.open
    return tags


def test_the_page_needs_nothing_else() -> None:
    page = to_page(made_inspection())
    tags = parsed(page)
    names = {tag for tag, _ in tags.seen}
    assert not names & {"script", "link", "img", "iframe", "object", "form", "base", "a"}
    assert not re.search(r"https?:|//[a-z]|@import|url\(", page)
    attributes = {name for _, found in tags.seen for name in found}
    assert not attributes & {"src", "href", "onload", "onclick", "action"}
    assert "default-src 'none'" in page and "prefers-color-scheme: dark" in page


def test_rows_are_only_text() -> None:
    page = to_page(made_inspection(model=HOSTILE, formats={HOSTILE: HOSTILE}, not_shown={"row 7": HOSTILE}))
    assert "<script" not in page and "\x1b" not in page and "\u202e" not in page
    assert parsed(page).text.count("<script>alert(1)</script>") >= 6


def test_tokens_are_coloured_by_spans() -> None:
    page = to_page(made_inspection())
    assert '<span class="t" title="trained · 4 tokens"><b>It</b><b> is</b><b> 4</b><b>.</b></span>' in page
    assert '<span class="t s" title="trained · 1 token"><b>&lt;|im_end|&gt;</b></span>' in page
    assert '<span class="x" title="cut away · 3 tokens">' in page
    assert page.count("<svg") == 2 and "<title>5 to 9 tokens: 90 rows</title>" in page


def test_two_hundred_rows_stay_readable() -> None:
    page = to_page(made_inspection(shown=tuple(made_row(number) for number in range(200))))
    tags = parsed(page)
    opened = [found for tag, found in tags.seen if tag == "details"]
    assert len(opened) == 200 and sum("open" in found for found in opened) == 12
    assert len(page) < 400_000
